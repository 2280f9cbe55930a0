import { type BuildLayerIndexOptions, buildLayerIndex } from "../build.ts";
import type { BuiltLayer, LayerIndex } from "../types.ts";

/** `bytes` in pieces, each in memory that is overwritten when the next one is asked for. */
export async function* pieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const piece = new Uint8Array(bytes.subarray(at, at + pieceBytes));
    yield piece;
    piece.fill(0xee);
  }
}

/** Builds the index of a blob in memory. */
export function build(
  blob: Uint8Array,
  options: Partial<BuildLayerIndexOptions> & { pieceBytes?: number } = {},
): Promise<BuiltLayer> {
  const { pieceBytes = 10_000, ...rest } = options;
  return buildLayerIndex(pieces(blob, pieceBytes), {
    compression: "gzip",
    spanSizeBytes: 65_536,
    ...rest,
  });
}

/** Like {@link build}, for a layer that surely has an index. */
export async function buildIndex(
  blob: Uint8Array,
  options: Parameters<typeof build>[1] = {},
): Promise<LayerIndex> {
  const { index } = await build(blob, options);
  if (index === undefined) throw new Error("the layer has no index");
  return index;
}
