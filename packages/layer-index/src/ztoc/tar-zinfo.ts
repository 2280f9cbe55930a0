import { FormatError } from "@soci-ts/core";
import { FlatBuffer } from "./flat-table.ts";
import { FlatWriter, joined } from "./flat-writer.ts";
import { TAR_ZINFO, TAR_ZINFO_VERSION } from "./slots.ts";

const FORMAT = "tar zinfo";

/** What stands in the place of gzip's checkpoints for an uncompressed layer: the measures of its grid. */
export interface TarZinfo {
  readonly spanSizeBytes: number;
  readonly sizeBytes: number;
}

/** Encodes the grid's measures. */
export function encodeTarZinfo({ spanSizeBytes, sizeBytes }: TarZinfo): Uint8Array {
  const writer = new FlatWriter();
  writer.startTable(TAR_ZINFO.fieldCount);
  writer.int32(TAR_ZINFO.version, TAR_ZINFO_VERSION);
  writer.int64(TAR_ZINFO.spanSize, spanSizeBytes);
  writer.int64(TAR_ZINFO.size, sizeBytes);
  writer.finish(writer.endTable());
  return joined(writer);
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
