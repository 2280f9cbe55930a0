import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { concatBytes, type Digest, verifyDigest } from "@soci-ts/core";

/** One line of `testdata/golden/vectors.json`. */
export interface GoldenVector {
  readonly name: string;
  readonly compression: "gzip" | "none";
  readonly layerDigest: Digest;
  /** Absent if the reference builder refuses the layer. */
  readonly ztocDigest?: Digest;
  readonly ztocSizeBytes?: number;
  readonly file?: string;
}

/** The span size that the vectors were made with. */
export const GOLDEN_SPAN_SIZE_BYTES = 65_536;

const FOLDER = new URL("../../testdata/golden/", import.meta.url);

/** A gzip header with extra field, name and comment. */
const FULL_HEADER = "1f8b081c010203040203050068656c6c6f6c617965722e746172006120636f6d6d656e7400";
const PLAIN_HEADER_BYTES = 10;

/** All vectors. */
export const GOLDEN_VECTORS: readonly GoldenVector[] = JSON.parse(
  goldenFile("vectors.json").toString("utf8"),
);

/** A file of the vectors' folder. */
export function goldenFile(name: string): Buffer {
  return readFileSync(new URL(name, FOLDER));
}

/** The blob of a vector. */
export function goldenLayer(vector: GoldenVector): Uint8Array {
  const bytes = makeLayer(vector);
  verifyDigest(vector.name, bytes, vector.layerDigest);
  return bytes;
}

function makeLayer({ name, file }: GoldenVector): Uint8Array {
  if (file !== undefined) {
    return file.endsWith(".gz.gz") ? gunzipSync(goldenFile(file)) : goldenFile(file);
  }
  switch (name) {
    case "uncompressed":
      return gunzipSync(goldenFile("gnu-single-stream.tar.gz"));
    case "gzip-header-all-fields":
      return concatBytes([
        Buffer.from(FULL_HEADER, "hex"),
        goldenFile("pax-single-stream.tar.gz").subarray(PLAIN_HEADER_BYTES),
      ]);
    case "trailing-zeros":
      return concatBytes([goldenFile("pax-single-stream.tar.gz"), new Uint8Array(512)]);
    default:
      throw new Error(`no way to make ${name}`);
  }
}
