import { FormatError } from "@soci-ts/core";
import { Builder } from "flatbuffers";
import { FlatBuffer } from "./flat-table.ts";
import { TAR_ZINFO, TAR_ZINFO_VERSION } from "./slots.ts";

const FORMAT = "tar zinfo";

/** What stands in the place of gzip's checkpoints for an uncompressed layer: the measures of its grid. */
export interface TarZinfo {
  readonly spanSizeBytes: number;
  readonly sizeBytes: number;
}

/** Encodes the grid's measures. */
export function encodeTarZinfo({ spanSizeBytes, sizeBytes }: TarZinfo): Uint8Array {
  const builder = new Builder(64);
  builder.startObject(TAR_ZINFO.fieldCount);
  builder.addFieldInt32(TAR_ZINFO.version, TAR_ZINFO_VERSION, 0);
  builder.addFieldInt64(TAR_ZINFO.spanSize, BigInt(spanSizeBytes), 0n);
  builder.addFieldInt64(TAR_ZINFO.size, BigInt(sizeBytes), 0n);
  builder.finish(builder.endObject());
  return builder.asUint8Array();
}

/** @throws FormatError if it is malformed or of another version. */
export function decodeTarZinfo(bytes: Uint8Array): TarZinfo {
  const root = new FlatBuffer(bytes, FORMAT, bytes.length + 64).root();
  const version = root.int32(TAR_ZINFO.version);
  if (version !== TAR_ZINFO_VERSION) {
    throw new FormatError(FORMAT, 0, `its version is ${version}, want ${TAR_ZINFO_VERSION}`);
  }
  const spanSizeBytes = root.size(TAR_ZINFO.spanSize);
  if (spanSizeBytes === 0) throw new FormatError(FORMAT, 0, "the span size is 0, want more");
  return { spanSizeBytes, sizeBytes: root.size(TAR_ZINFO.size) };
}
