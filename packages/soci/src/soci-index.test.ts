import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import {
  ANNOTATION_LAYER_DIGEST,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_LAYER_GZIP,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V2,
  MEDIA_TYPE_SOCI_PREFETCH,
  MEDIA_TYPE_ZTOC,
} from "@soci-ts/oci";
import { encodeSociIndexV1, parseSociIndex } from "./soci-index.ts";
import { failure } from "./testing/fixtures.ts";

const LAYER = sha256(Buffer.from("layer"));
const ZTOC = sha256(Buffer.from("ztoc"));
const SUBJECT = {
  mediaType: MEDIA_TYPE_OCI_MANIFEST,
  digest: sha256(Buffer.from("manifest")),
  size: 743,
};

function encode(): Uint8Array {
  const platform = { os: "linux", architecture: "arm64" };
  const subject = { ...SUBJECT, annotations: { left: "out" }, platform };
  return encodeSociIndexV1(subject, {
    ztocs: [
      {
        digest: ZTOC,
        sizeBytes: 4,
        spanSizeBytes: 65_536,
        layer: { mediaType: MEDIA_TYPE_OCI_LAYER_GZIP, digest: LAYER, size: 5 },
      },
    ],
  }).bytes;
}

describe("encodeSociIndexV1()", () => {
  it("gives the fields in Go's order, without spaces or a line break", () => {
    const text = Buffer.from(encode()).toString();
    assert.equal(
      text,
      `{"schemaVersion":2,"mediaType":"${MEDIA_TYPE_OCI_MANIFEST}","config":{"mediaType":"application/vnd.amazon.soci.index.v1+json","digest":"${EMPTY_CONFIG_DIGEST}","size":2},` +
        `"layers":[{"mediaType":"application/octet-stream","digest":"${ZTOC}","size":4,"annotations":{"com.amazon.soci.image-layer-digest":"${LAYER}","com.amazon.soci.image-layer-mediaType":"${MEDIA_TYPE_OCI_LAYER_GZIP}","com.amazon.soci.span-size":"65536"}}],` +
        `"subject":{"mediaType":"${SUBJECT.mediaType}","digest":"${SUBJECT.digest}","size":743},"annotations":{"com.amazon.soci.build-tool-identifier":"AWS SOCI CLI v0.2"}}`,
    );
  });
});

describe("parseSociIndex()", () => {
  it("reads what encodeSociIndexV1() gives", () => {
    const index = parseSociIndex(encode());
    assert.equal(index.version, 1);
    assert.equal(index.manifest.subject?.digest, SUBJECT.digest);
    const [ztoc] = index.ztocs;
    assert.equal(ztoc?.layerDigest, LAYER);
    assert.equal(ztoc?.layerMediaType, MEDIA_TYPE_OCI_LAYER_GZIP);
    assert.equal(ztoc?.spanSizeBytes, 65_536);
  });

  it("reads version 2, passes prefetch lists over, and takes a missing span size as unknown", () => {
    const annotations = { [ANNOTATION_LAYER_DIGEST]: LAYER };
    const index = parseSociIndex(manifestOf(MEDIA_TYPE_SOCI_INDEX_V2, annotations));
    assert.equal(index.version, 2);
    assert.deepEqual(
      index.ztocs.map(({ layerDigest, spanSizeBytes }) => ({ layerDigest, spanSizeBytes })),
      [{ layerDigest: LAYER, spanSizeBytes: undefined }],
    );
  });

  it("refuses a manifest of another kind, and a ztoc that does not name its layer", () => {
    const image = manifestOf("application/vnd.oci.image.config.v1+json", {});
    assert.throws(() => parseSociIndex(image), failure("data_loss", /media type/));
    const nameless = manifestOf(MEDIA_TYPE_SOCI_INDEX_V2, {});
    assert.throws(() => parseSociIndex(nameless), failure("data_loss", /want a digest/));
    const lying = manifestOf(MEDIA_TYPE_SOCI_INDEX_V2, { [ANNOTATION_LAYER_DIGEST]: "../../etc" });
    assert.throws(() => parseSociIndex(lying), failure("data_loss", /want a digest/));
    const list = Buffer.from('{"schemaVersion":2,"manifests":[]}');
    assert.throws(() => parseSociIndex(list), AppError);
  });

  it("gives a typed error for every truncation", () => {
    const bytes = encode();
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => parseSociIndex(bytes.subarray(0, length)), AppError, `${length} bytes`);
    }
  });
});

function manifestOf(configType: string, annotations: Record<string, string>): Uint8Array {
  return encodeManifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { mediaType: configType, digest: EMPTY_CONFIG_DIGEST as Digest, size: 2 },
    layers: [
      { mediaType: MEDIA_TYPE_ZTOC, digest: ZTOC, size: 4, annotations },
      { mediaType: MEDIA_TYPE_SOCI_PREFETCH, digest: ZTOC, size: 4 },
    ],
  });
}
