import { buildLayerIndex, encodeZtoc, type LayerIndex } from "@soci-ts/layer-index";
import { type BuiltLayerBlob, buildTar, gzipLayer, seededBytes } from "@soci-ts/testkit";

/** The files of the layer that ztocs lie about. */
export const FILES: Readonly<Record<string, Uint8Array>> = {
  one: seededBytes(300_000, 1),
  two: seededBytes(300_000, 2),
  three: seededBytes(300_000, 3),
};

/** A layer of {@link FILES}. */
export const LAYER: BuiltLayerBlob = gzipLayer(
  await buildTar(Object.entries(FILES).map(([name, content]) => ({ name, content }))),
);

/** What a ztoc of {@link LAYER} says that is not so. */
export interface Lie {
  readonly name: string;
  /** A ztoc, made from the honest index. */
  readonly ztoc: (honest: LayerIndex) => Uint8Array;
  /** `refused`: the layer is read whole instead. `noticed`: when what it is about is read. */
  readonly outcome: "refused" | "noticed";
}

type Checkpoint = LayerIndex["checkpoints"][number];

/** The checkpoint that is lied about. */
const AT = 2;

/** The index of {@link LAYER} as it should be. */
export async function honestIndex(): Promise<LayerIndex> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield LAYER.blob;
  }
  const { index } = await buildLayerIndex(stream(), { compression: "gzip", spanSizeBytes: 65_536 });
  if (index === undefined) throw new Error("the layer has no index");
  return index;
}

function ofCheckpoint(change: (honest: Checkpoint) => Partial<Checkpoint>): Lie["ztoc"] {
  return (honest) => {
    const lie = (it: Checkpoint, at: number): Checkpoint =>
      at === AT ? { ...it, ...change(it) } : it;
    return encodeZtoc({ ...honest, checkpoints: honest.checkpoints.map(lie) });
  };
}

function withLastEntry(sizeBytes: number): Lie["ztoc"] {
  return (honest) =>
    encodeZtoc({
      ...honest,
      entries: honest.entries.map((it, at) =>
        at === honest.entries.length - 1 ? { ...it, sizeBytes } : it,
      ),
    });
}

function swapped(entries: LayerIndex["entries"]): LayerIndex["entries"] {
  const names = entries.map(({ name }) => name).reverse();
  return entries.map((it, at) => ({ ...it, name: names[at] ?? it.name }));
}

/**
 * Lies that show when what they are about is read. Not among them: forged windows. Span digests cover compressed bytes only, so where no
 * header is, such an index is as trustworthy as who pushed it.
 */
export const LIES: readonly Lie[] = [
  {
    name: "files have each other's names",
    ztoc: (honest) => encodeZtoc({ ...honest, entries: swapped(honest.entries) }),
    outcome: "noticed",
  },
  {
    name: "a file lies a block further on",
    ztoc: (honest) =>
      encodeZtoc({
        ...honest,
        entries: honest.entries.map((it, at) =>
          at === 1 ? { ...it, dataOffset: it.dataOffset + 512, sizeBytes: it.sizeBytes - 512 } : it,
        ),
      }),
    outcome: "noticed",
  },
  {
    name: "a file's mode",
    ztoc: (honest) =>
      encodeZtoc({ ...honest, entries: honest.entries.map((it) => ({ ...it, mode: 0o4755 })) }),
    outcome: "noticed",
  },
  {
    name: "a span starts a byte later in the tar",
    ztoc: ofCheckpoint((it) => ({ uncompressedOffset: it.uncompressedOffset + 1 })),
    outcome: "noticed",
  },
  {
    name: "a span starts a byte earlier in the tar",
    ztoc: ofCheckpoint((it) => ({ uncompressedOffset: it.uncompressedOffset - 1 })),
    outcome: "noticed",
  },
  {
    name: "a span starts a byte later in the blob",
    ztoc: ofCheckpoint((it) => ({ compressedOffset: it.compressedOffset + 1 })),
    outcome: "noticed",
  },
  {
    name: "a span starts at another bit",
    ztoc: ofCheckpoint((it) => ({ bits: (it.bits % 7) + 1 })),
    outcome: "noticed",
  },
  {
    name: "the digests are others",
    ztoc: (honest) => {
      const digest = honest.spans[0]?.digest ?? "";
      const spans = honest.spans.map((it) => ({ ...it, digest: digest as typeof it.digest }));
      return encodeZtoc({ ...honest, spans });
    },
    outcome: "noticed",
  },
  {
    name: "the tar is larger",
    ztoc: (honest) =>
      encodeZtoc({ ...honest, uncompressedSizeBytes: honest.uncompressedSizeBytes + 100_000 }),
    outcome: "noticed",
  },
  { name: "a file of 32 TiB", ztoc: withLastEntry(2 ** 45), outcome: "refused" },
  {
    name: "it is of a longer blob",
    ztoc: (honest) =>
      encodeZtoc({ ...honest, compressedSizeBytes: honest.compressedSizeBytes + 1 }),
    outcome: "refused",
  },
  { name: "rubbish", ztoc: () => Buffer.alloc(5000, 65), outcome: "refused" },
  { name: "nothing", ztoc: () => Buffer.alloc(0), outcome: "refused" },
  {
    name: "half of one",
    ztoc: (honest) => encodeZtoc(honest).subarray(0, 100_000),
    outcome: "refused",
  },
];

/** An index whose windows and names are forged. Span digests can't show the first: they cover compressed bytes only. */
export function forgedIndex(honest: LayerIndex): LayerIndex {
  return {
    ...honest,
    checkpoints: honest.checkpoints.map((it) => ({ ...it, window: Buffer.alloc(32_768, 7) })),
    entries: swapped(honest.entries),
  };
}
