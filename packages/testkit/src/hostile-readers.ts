/**
 * Every reader of bytes that come from a registry, a layer or a disk, and how many of each 100,000 mutations are for it: more where they are cheap
 * and the format has much to say. A further reader is a line here, and one in its package's `hostile.test.ts`.
 */
export const HOSTILE_READERS: Readonly<Record<string, number>> = {
  tar: 25_000,
  "gzip-scan": 5_000,
  "gzip-resume": 3_000,
  ztoc: 22_000,
  zinfo: 5_000,
  flatbuffer: 6_000,
  "header-table": 4_000,
  layer: 3_000,
  zstd: 3_000,
  erofs: 2_000,
  manifest: 8_000,
  "image-index": 4_000,
  "image-config": 4_000,
  "soci-index": 6_000,
  "registry-route": 6_000,
  "registry-range": 3_000,
  "registry-request": 6_000,
};

/** What {@link HOSTILE_READERS} counts of. */
const COUNTED_OF = 100_000;

/** How many mutations a reader gets in this run: `--mutations` of `test/run.mjs` says how many all have together, 100,000 or so by default. */
export function mutationsOf(reader: string): number {
  const share = HOSTILE_READERS[reader];
  if (share === undefined) throw new Error(`no reader ${reader} in the table of hostile readers`);
  const total = Number(process.env["SOCI_TEST_MUTATIONS"] ?? COUNTED_OF);
  return Math.ceil((share / COUNTED_OF) * total);
}
