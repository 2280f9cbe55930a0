import assert from "node:assert/strict";
import { type HostileReader, testHostileReaders } from "@soci-ts/testkit";
import { encodeIndex, encodeManifest } from "./encode-manifest.ts";
import { parseImageConfig } from "./image-config.ts";
import { parseManifest } from "./parse-manifest.ts";
import {
  CONVERTED_INDEX_JSON,
  CONVERTED_MANIFEST_JSON,
  SOCI_INDEX_V1_JSON,
} from "./testing/golden.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
/** Every field that a descriptor and a manifest can have. */
const FULL = {
  schemaVersion: 2,
  artifactType: "a/b",
  config: { mediaType: "c/d", digest: DIGEST, size: 7, data: "YWJj" },
  layers: [
    {
      mediaType: "x/y",
      digest: `sha512:${"0".repeat(128)}`,
      size: 3,
      urls: ["https://e.example/"],
      annotations: { "": "", b: "\u2028<" },
      platform: {
        architecture: "arm",
        os: "linux",
        "os.version": "1",
        "os.features": ["f"],
        variant: "v7",
      },
      artifactType: "c/d",
    },
  ],
  subject: { mediaType: "e/f", digest: DIGEST, size: 9_007_199_254_740_991 },
  annotations: { k: "v" },
};
const CONFIG = {
  architecture: "amd64",
  os: "linux",
  config: { Env: ["A=b"], Cmd: null },
  rootfs: { type: "layers", diff_ids: [DIGEST, DIGEST] },
  history: [{ created: "2026-01-01T00:00:00Z", empty_layer: true }],
};

const TOKENS = [
  "null",
  "-1",
  "1e400",
  "1.5",
  "9007199254740993",
  "[]",
  "{}",
  '""',
  "[[[[",
  '"\\ud800"',
  '"__proto__":{}',
  '"layers":[],',
  '"manifests":[],',
  "sha512:",
  ",",
  "\0",
  "\xff",
];

const bytesOf = (json: unknown): Uint8Array =>
  Buffer.from(typeof json === "string" ? json : JSON.stringify(json));

/** What was accepted is written again, and that reads as the same. */
function readManifest(bytes: Uint8Array): void {
  const parsed = parseManifest(bytes);
  const again =
    parsed.kind === "manifest" ? encodeManifest(parsed.manifest) : encodeIndex(parsed.index);
  const second = parseManifest(again, parsed.mediaType);
  const encoded =
    second.kind === "manifest" ? encodeManifest(second.manifest) : encodeIndex(second.index);
  assert.deepEqual(Buffer.from(encoded), Buffer.from(again));
}

function readConfig(bytes: Uint8Array): void {
  const { diffIds, platform } = parseImageConfig(bytes);
  for (const diffId of diffIds) assert.match(diffId, /^sha(256|512):[0-9a-f]+$/);
  assert.equal(typeof platform.os, "string");
}

const READERS: readonly HostileReader[] = [
  {
    name: "manifest",
    seeds: [FULL, SOCI_INDEX_V1_JSON, CONVERTED_MANIFEST_JSON].map(bytesOf),
    read: readManifest,
  },
  { name: "image-index", seeds: [bytesOf(CONVERTED_INDEX_JSON)], read: readManifest },
  { name: "image-config", seeds: [bytesOf(CONFIG)], read: readConfig },
];

testHostileReaders(
  new URL("../testdata/", import.meta.url),
  READERS.map((reader) => ({ ...reader, tokens: TOKENS })),
);
