import assert from "node:assert/strict";
import { test } from "node:test";
import { isEncryptedLayer, isForeignLayer, layerCompression } from "./media-types.ts";

const OCI = "application/vnd.oci.image.layer";
const DOCKER = "application/vnd.docker.image.rootfs";

const KINDS: readonly [
  mediaType: string,
  compression: string | undefined,
  isForeign: boolean,
  isEncrypted: boolean,
][] = [
  [`${OCI}.v1.tar`, "none", false, false],
  [`${OCI}.v1.tar+gzip`, "gzip", false, false],
  [`${OCI}.v1.tar+zstd`, "zstd", false, false],
  [`${OCI}.nondistributable.v1.tar`, "none", true, false],
  [`${OCI}.nondistributable.v1.tar+gzip`, "gzip", true, false],
  [`${DOCKER}.diff.tar.gzip`, "gzip", false, false],
  [`${DOCKER}.foreign.diff.tar.gzip`, "gzip", true, false],
  [`${OCI}.v1.tar+gzip+encrypted`, undefined, false, true],
  [`${OCI}.v1.tar+encrypted`, undefined, false, true],
  [`${DOCKER}.diff.tar.gzip+enc`, undefined, false, true],
  ["application/vnd.example+encoded", undefined, false, false],
];

for (const [mediaType, compression, isForeign, isEncrypted] of KINDS) {
  test(`${mediaType} is known for what it is`, () => {
    assert.equal(layerCompression(mediaType), compression);
    assert.equal(isForeignLayer(mediaType), isForeign);
    assert.equal(isEncryptedLayer(mediaType), isEncrypted);
  });
}
