// All that becomes a path on this machine, of what an image says, is a digest: so a digest that is a path must not pass, wherever it stands.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import { parseImageConfig, parseManifest } from "@soci-ts/oci";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { parseSociIndex } from "./soci-index.ts";
import { openBench, twoLayerLayout } from "./testing/fixtures.ts";

const HEX = "a".repeat(64);
const SOUND = `sha256:${HEX}`;
const DIGESTS = [
  "../../../secret",
  "/etc/passwd",
  "sha256:../../../secret",
  "sha256:/etc/passwd",
  `sha256:..${"/".repeat(62)}`,
  `../sha256:${HEX}`,
  `sha256/../../x:${HEX}`,
  `sha256:${HEX}/../x`,
  `sha256:${HEX}\0`,
  `sha256:${HEX.slice(1)}\0`,
  `sha256:${HEX}\n`,
  `sha256:${HEX.toUpperCase()}`,
  `.:${HEX}`,
  `:${HEX}`,
  `md5:${"a".repeat(32)}`,
  "sha256:",
  "",
];

const descriptor = (digest: string): object => ({ mediaType: "a/b", digest, size: 6 });
const bytesOf = (json: object): Uint8Array => Buffer.from(JSON.stringify(json));

/** Each place in a document at which a digest may stand. */
const PLACES: Readonly<Record<string, (digest: string) => unknown>> = {
  "an index's manifest": (digest) =>
    parseManifest(bytesOf({ schemaVersion: 2, manifests: [descriptor(digest)] })),
  "a config": (digest) =>
    parseManifest(bytesOf({ schemaVersion: 2, config: descriptor(digest), layers: [] })),
  "a layer": (digest) =>
    parseManifest(
      bytesOf({ schemaVersion: 2, config: descriptor(SOUND), layers: [descriptor(digest)] }),
    ),
  "a subject": (digest) =>
    parseManifest(
      bytesOf({
        schemaVersion: 2,
        config: descriptor(SOUND),
        layers: [],
        subject: descriptor(digest),
      }),
    ),
  "a diffID": (digest) =>
    parseImageConfig(
      bytesOf({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: [digest] },
      }),
    ),
  "a ztoc's layer": (digest) =>
    parseSociIndex(
      bytesOf({
        schemaVersion: 2,
        config: { ...descriptor(SOUND), mediaType: "application/vnd.amazon.soci.index.v1+json" },
        layers: [
          {
            mediaType: "application/octet-stream",
            digest: SOUND,
            size: 1,
            annotations: { "com.amazon.soci.image-layer-digest": digest },
          },
        ],
      }),
    ),
};

describe("digests that are paths", () => {
  for (const [place, read] of Object.entries(PLACES)) {
    it(`are refused as ${place}`, () => {
      read(SOUND);
      for (const digest of DIGESTS) {
        assert.throws(() => read(digest), { name: "FormatError" }, JSON.stringify(digest));
      }
    });
  }

  it("open no file beside a layout", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const secret = Buffer.from("secret");
    await writeFile(join(bench.directory, "secret"), secret);
    const source = ociLayoutImageSource(image.directory);
    for (const digest of [...DIGESTS, sha256(secret)]) {
      const index = { schemaVersion: 2, manifests: [{ ...image.manifest, digest, size: 6 }] };
      await writeFile(join(image.directory, "index.json"), JSON.stringify(index));
      await assert.rejects(source.resolve(undefined), (error) => {
        assert.ok(error instanceof AppError && !error.message.includes("secret\n"));
        return error.code === "data_loss" || error.code === "not_found";
      });
    }
  });
});
