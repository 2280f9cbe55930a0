// A layer of many gigabytes and one of very many files: indexed in memory that is bounded, whatever their size. Figures are printed.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { type PlacedLayer, writeImage } from "@soci-ts/testkit";
import { rawEntry } from "./raw-tar.ts";
import { runSoci } from "./run-soci.ts";

const isLarge = process.env["SOCI_TEST_SCALE"] !== undefined;
const GIBIBYTES = 20;
const FILES = isLarge ? 1_000_000 : 20_000;

const MiB = 2 ** 20;
const FILES_AT_ONCE = 1_000;
const LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
/** What indexing may take besides what grows with the ztoc: that is in memory as bytes, and before that as windows and entries. */
const BASE_BYTES = 150 * MiB;
const ZTOC_TIMES = 2.5;

/** A piece of a tar, the same so many times over. */
interface Piece {
  readonly tar: Buffer;
  readonly times: number;
}

/** Files of a gibibyte of zeros each. */
function* zeroPieces(): Generator<Piece> {
  for (let at = 0; at < GIBIBYTES; at += 1) {
    yield { tar: rawEntry({ name: `zeros-${at}`, size: 1024 * MiB }), times: 1 };
    yield { tar: Buffer.alloc(64 * MiB), times: 16 };
  }
  yield { tar: Buffer.alloc(1024), times: 1 };
}

/** Files of a few bytes, a thousand to a directory. */
function* smallFilePieces(): Generator<Piece> {
  for (let start = 0; start < FILES; start += FILES_AT_ONCE) {
    const entries = Array.from({ length: FILES_AT_ONCE }, (_, at) =>
      rawEntry({ name: `usr/share/files/${start}/file-${start + at}`, content: `${at}` }),
    );
    yield { tar: Buffer.concat(entries), times: 1 };
  }
  yield { tar: Buffer.alloc(1024), times: 1 };
}

/** Writes a layer into a layout piece by piece, each a gzip member, and gives what a manifest says of it. */
async function placeLayer(directory: string, pieces: Iterable<Piece>): Promise<PlacedLayer> {
  const blobs = join(directory, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const draft = join(directory, "draft");
  const [blobHash, tarHash] = [createHash("sha256"), createHash("sha256")];
  const file = await open(draft, "w");
  const zeros = new Map<number, Buffer>();
  for (const { tar, times } of pieces) {
    const known = times > 1 ? zeros.get(tar.length) : undefined;
    const member = known ?? gzipSync(tar, { level: times > 1 ? 9 : 1 });
    if (times > 1) zeros.set(tar.length, member);
    for (let time = 0; time < times; time += 1) {
      tarHash.update(tar);
      blobHash.update(member);
      await file.write(member);
    }
  }
  await file.close();
  const hex = blobHash.digest("hex");
  const { size } = await stat(draft);
  await rename(draft, join(blobs, hex));
  return {
    descriptor: { mediaType: LAYER_GZIP, digest: `sha256:${hex}`, size },
    diffId: `sha256:${tarHash.digest("hex")}`,
  };
}

const CASES: Readonly<Record<string, () => Generator<Piece>>> = {
  [`${FILES} files`]: smallFilePieces,
  // One of a gibibyte is in hostile.e2e.ts.
  ...(isLarge ? { [`${GIBIBYTES} GiB of zeros`]: zeroPieces } : {}),
};

describe("soci create, layers that are large in one way or another", () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci-wide-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  for (const [name, pieces] of Object.entries(CASES)) {
    test(`${name} in one layer`, async (context) => {
      const layout = join(directory, name.replaceAll(" ", "-"));
      const layer = await placeLayer(layout, pieces());
      await writeImage(layout, [layer]);
      const root = join(directory, "store");
      const run = await runSoci(root, "create", "--min-layer-size", "0", `oci:${layout}`);
      assert.equal(run.exitCode, 0, run.stderr);
      const { layers } = run.document as unknown as {
        layers: readonly { readonly ztocSizeBytes?: number }[];
      };
      const ztocBytes = layers[0]?.ztocSizeBytes ?? 0;
      const [peak, ztoc, blob] = [run.peakBytes, ztocBytes, layer.descriptor.size].map((bytes) =>
        (bytes / MiB).toFixed(1),
      );
      context.diagnostic(
        `${name}: ${(run.tookMs / 1000).toFixed(1)} s, peak ${peak} MiB, ztoc ${ztoc} MiB, blob ${blob} MiB`,
      );
      assert.ok(ztocBytes > 0);
      assert.ok(
        run.peakBytes < BASE_BYTES + ZTOC_TIMES * ztocBytes,
        `peak ${peak} MiB, ztoc ${ztoc} MiB`,
      );
    });
  }
});
