import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "@soci-ts/core";
import { encodeIndex, encodeManifest } from "./encode-manifest.ts";
import { MANIFEST_LIMIT_BYTES } from "./limits.ts";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "./media-types.ts";
import { parseManifest } from "./parse-manifest.ts";
import {
  CONVERTED_INDEX_JSON,
  CONVERTED_MANIFEST_JSON,
  SOCI_INDEX_V1_JSON,
  SOCI_INDEX_V2_JSON,
} from "./testing/golden.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const CONFIG = { mediaType: "application/vnd.oci.image.config.v1+json", digest: DIGEST, size: 2 };
const MANIFEST = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPE_OCI_MANIFEST,
  config: CONFIG,
  layers: [CONFIG],
};

const bytesOf = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value));

function encodeAgain(bytes: Uint8Array): string {
  const parsed = parseManifest(bytes);
  const encoded =
    parsed.kind === "index" ? encodeIndex(parsed.index) : encodeManifest(parsed.manifest);
  return Buffer.from(encoded).toString("utf8");
}

const GOLDEN: readonly [name: string, json: string][] = [
  ["a SOCI index v1", SOCI_INDEX_V1_JSON],
  ["a SOCI index v2", SOCI_INDEX_V2_JSON],
  ["an image manifest bound to a SOCI index", CONVERTED_MANIFEST_JSON],
  ["an image index with a SOCI index", CONVERTED_INDEX_JSON],
];

for (const [name, json] of GOLDEN) {
  test(`parseManifest() and encode give back ${name} byte for byte`, () => {
    assert.equal(encodeAgain(bytesOf(json)), json);
  });

  test(`parseManifest() refuses every truncation of ${name}`, () => {
    const bytes = bytesOf(json);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(
        () => parseManifest(bytes.subarray(0, length)),
        FormatError,
        `length ${length}`,
      );
    }
  });
}

test("parseManifest() keeps every field, and the encoder writes them in Go's order", () => {
  const json = `{"schemaVersion":2,"artifactType":"a/b","config":${JSON.stringify(CONFIG)},"layers":[{"mediaType":"x/y","digest":"${DIGEST}","size":3,"urls":["https://e.example/"],"annotations":{"a":"","b":"\\u003c"},"data":"YWJj","platform":{"architecture":"arm","os":"linux","os.version":"1","os.features":["f"],"variant":"v7"},"artifactType":"c/d"}],"subject":${JSON.stringify(CONFIG)},"annotations":{"k":"v"}}`;
  assert.equal(encodeAgain(bytesOf(json)), json);
});

test("parseManifest() drops what Go drops: unknown fields, nulls, empties", () => {
  const loose = {
    ...MANIFEST,
    extra: 1,
    annotations: {},
    subject: null,
    layers: [{ ...CONFIG, urls: [], platform: null, artifactType: "" }],
  };
  assert.equal(encodeAgain(bytesOf(loose)), JSON.stringify(MANIFEST));
});

test("parseManifest() tells index and manifest apart by the announced type, the document, or its shape", () => {
  const index = { schemaVersion: 2, manifests: [] };
  assert.equal(parseManifest(bytesOf(index)).kind, "index");
  assert.equal(parseManifest(bytesOf(index)).mediaType, MEDIA_TYPE_OCI_INDEX);
  assert.equal(parseManifest(bytesOf(MANIFEST)).kind, "manifest");
  assert.equal(parseManifest(bytesOf({ schemaVersion: 2, manifests: null })).kind, "index");
});

const layer = (fields: object): unknown => ({
  ...MANIFEST,
  layers: [CONFIG, { ...CONFIG, ...fields }],
});

const REFUSED: readonly [name: string, document: unknown, want: RegExp, mediaType?: string][] = [
  ["no JSON", "{", /not valid JSON/],
  ["a byte order mark", `\ufeff${JSON.stringify(MANIFEST)}`, /not valid JSON/],
  ["trailing data", `${JSON.stringify(MANIFEST)}{}`, /not valid JSON/],
  ["an array", [], /\$ is an array, want an object/],
  ["no schemaVersion", { ...MANIFEST, schemaVersion: undefined }, /no "schemaVersion"/],
  ["schemaVersion 3", { ...MANIFEST, schemaVersion: 3 }, /schemaVersion 3, want 2/],
  ["no config", { ...MANIFEST, config: undefined }, /\$ has no "config"/],
  ["no layers", { ...MANIFEST, layers: undefined }, /\$ has no "layers"/],
  ["layers of another type", { ...MANIFEST, layers: {} }, /\$\.layers is an object, want an array/],
  ["a bad digest", layer({ digest: "sha256:AA" }), /\$\.layers\[1\]\.digest is "sha256:AA"/],
  ["a negative size", layer({ size: -1 }), /\$\.layers\[1\]\.size is -1/],
  ["a size above 2^53", layer({ size: 2 ** 60 }), /\$\.layers\[1\]\.size is 1152921504606847000/],
  ["a size in a string", layer({ size: "1" }), /\$\.layers\[1\]\.size is a string/],
  ["an empty media type", layer({ mediaType: "" }), /\$\.layers\[1\]\.mediaType is empty/],
  ["a long media type", layer({ mediaType: "x".repeat(256) }), /mediaType is 256 characters/],
  [
    "an annotation that is no text",
    layer({ annotations: { "a.b": 1 } }),
    /annotations\["a\.b"\] is a number/,
  ],
  ["data that is no base64", layer({ data: "*" }), /\$\.layers\[1\]\.data is not base64/],
  ["too many urls", layer({ urls: Array(257).fill("u") }), /urls has 257 items, want at most 256/],
  ["both kinds", { ...MANIFEST, manifests: [] }, /has both/],
  ["another announced type", MANIFEST, /as announced/, MEDIA_TYPE_OCI_INDEX],
  [
    "a type that is no manifest",
    { ...MANIFEST, mediaType: "text/html" },
    /is of type "text\/html"/,
  ],
];

for (const [name, document, want, mediaType] of REFUSED) {
  test(`parseManifest() refuses ${name}`, () => {
    assert.throws(
      () => parseManifest(bytesOf(document), mediaType),
      (error) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, want);
        return true;
      },
    );
  });
}

test("parseManifest() refuses Docker's schema 1 and says what to do", () => {
  const byType = "application/vnd.docker.distribution.manifest.v1+prettyjws";
  for (const [document, type] of [
    [{ schemaVersion: 1, fsLayers: [] }, undefined],
    [MANIFEST, byType],
  ] as const) {
    assert.throws(() => parseManifest(bytesOf(document), type), {
      code: "unimplemented",
      message: /push the image again/,
    });
  }
});

test("parseManifest() refuses what is too long, too deep or too many", () => {
  assert.throws(
    () => parseManifest(new Uint8Array(MANIFEST_LIMIT_BYTES + 1)),
    /want at most 4194304/,
  );
  assert.throws(
    () => parseManifest(Buffer.alloc(MANIFEST_LIMIT_BYTES, "[")),
    /nests deeper than 64/,
  );
  const entries = `[${Array(16_385).fill("0").join(",")}]`;
  assert.throws(
    () => parseManifest(bytesOf(`{"schemaVersion":2,"manifests":${entries}}`)),
    /16385 items/,
  );
});

test("parseManifest() treats __proto__ as any other annotation key", () => {
  const json = JSON.stringify(MANIFEST).replace(/}$/, ',"annotations":{"__proto__":"x"}}');
  const parsed = parseManifest(bytesOf(json));
  assert.equal(
    parsed.kind === "manifest" && Object.hasOwn(parsed.manifest.annotations!, "__proto__"),
    true,
  );
  assert.equal(encodeAgain(bytesOf(json)), json);
});
