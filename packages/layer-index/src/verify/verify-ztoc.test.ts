import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { type ByteString, concatBytes, type Digest, sha256 } from "@soci-ts/core";
import { availableEngines, type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";
import type { TarEntry } from "@soci-ts/tar";
import { build, pieces } from "../testing/build.ts";
import {
  GOLDEN_SPAN_SIZE_BYTES,
  GOLDEN_VECTORS,
  goldenFile,
  goldenLayer,
} from "../testing/golden.ts";
import { blobOf } from "../testing/small-ztoc.ts";
import type { LayerIndex } from "../types.ts";
import { encodeZtoc } from "../ztoc/encode.ts";
import { joined } from "../ztoc/flat-writer.ts";
import { ALGORITHM_GZIP } from "../ztoc/slots.ts";
import { writeZtoc } from "../ztoc/write.ts";
import { zinfoBytes } from "../ztoc/zinfo.ts";
import type { IndexDifference } from "./difference.ts";
import { type VerifyZtocOptions, verifyZtoc } from "./verify-ztoc.ts";

const SOUND = GOLDEN_VECTORS.filter((vector) => vector.ztocDigest !== undefined);

interface Layer {
  readonly blob: Uint8Array;
  readonly index: LayerIndex;
  readonly layerDigest: Digest;
  readonly diffId: Digest;
}

async function layerOf(name: string, spanSizeBytes = GOLDEN_SPAN_SIZE_BYTES): Promise<Layer> {
  const vector = SOUND.find((one) => one.name === name)!;
  const blob = goldenLayer(vector);
  const built = await build(blob, { compression: vector.compression, spanSizeBytes });
  return { blob, index: built.index!, layerDigest: built.layerDigest, diffId: built.diffId };
}

function verify(
  layer: Layer,
  ztoc: Uint8Array,
  options: Partial<VerifyZtocOptions> & { readonly pieceBytes?: number } = {},
) {
  const { pieceBytes = 10_007, ...rest } = options;
  const { layerDigest, diffId, index } = layer;
  const { compression } = index;
  const stream = pieces(layer.blob, pieceBytes);
  return verifyZtoc(stream, { ztoc, compression, layerDigest, diffId, ...rest });
}

/** A ztoc that the encoder would refuse, or that lies. */
function forge(index: LayerIndex, checkpoints?: Uint8Array): Uint8Array {
  const blob = checkpoints ?? zinfo(index);
  const ztoc = writeZtoc({
    buildTool: "forger",
    compressedSizeBytes: index.compressedSizeBytes,
    uncompressedSizeBytes: index.uncompressedSizeBytes,
    entries: index.entries,
    algorithm: ALGORITHM_GZIP,
    maxSpanId: index.spans.length - 1,
    spanDigests: index.spans.map(({ digest }) => digest),
    checkpoints: blobOf(blob),
  });
  return joined(ztoc);
}

function zinfo(index: LayerIndex): Uint8Array {
  return joined(zinfoBytes(index));
}

function changed<T>(items: readonly T[], at: number, change: Partial<T>): T[] {
  return items.map((item, number) => (number === at ? { ...item, ...change } : item));
}

function withCheckpoint(index: LayerIndex, at: number, change: Partial<Checkpoint>): LayerIndex {
  return { ...index, checkpoints: changed(index.checkpoints, at, change) };
}

function withEntry(index: LayerIndex, at: number, change: Partial<TarEntry>): LayerIndex {
  return { ...index, entries: changed(index.entries, at, change) };
}

const b = (text: string): ByteString => text as ByteString;

describe("verifyZtoc()", () => {
  for (const vector of SOUND) {
    it(`finds nothing wrong with ${vector.name}`, async () => {
      const layer = await layerOf(vector.name);
      const ztoc = encodeZtoc(layer.index);
      for (const engine of availableEngines()) {
        const verdict = await verify(layer, ztoc, { engine });
        assert.equal(verdict.difference, undefined);
        assert.equal(verdict.stated?.entryCount, layer.index.entries.length);
        assert.equal(verdict.stated?.spanCount, layer.index.spans.length);
      }
      assert.equal((await verify(layer, ztoc, { isQuick: true })).difference, undefined);
    });
  }

  it("takes any span size, whatever pieces the blob comes in", async () => {
    for (const spanSizeBytes of [1, 12_345, 4_194_304]) {
      const layer = await layerOf("sync-and-full-flushes", spanSizeBytes);
      for (const pieceBytes of [1009, 1_000_000]) {
        const ztoc = encodeZtoc(layer.index, { buildTool: "some tool" });
        const verdict = await verify(layer, ztoc, { pieceBytes });
        assert.deepEqual(verdict.difference, undefined);
        assert.equal(verdict.stated?.buildTool, "some tool");
      }
    }
  });

  it("takes the reference's own file, of an uncompressed layer", async () => {
    const layer = await layerOf("uncompressed");
    const verdict = await verify(layer, goldenFile("uncompressed.ztoc"));
    assert.equal(verdict.difference, undefined);
  });

  it("takes checkpoints without the first one, as old builders left them, unless the header is longer", async () => {
    const old = (index: LayerIndex): Uint8Array => {
      const whole = zinfo(index);
      return forge(
        index,
        concatBytes([whole.subarray(0, 12), whole.subarray(12 + 17 + WINDOW_BYTES)]),
      );
    };
    const plain = await layerOf("pax-single-stream");
    assert.equal((await verify(plain, old(plain.index))).difference, undefined);
    const named = await layerOf("gzip-header-all-fields");
    const { difference } = await verify(named, old(named.index));
    assert.deepEqual(difference, {
      part: "span",
      number: 0,
      field: "compressed offset",
      offset: 37,
      want: "37",
      have: "10",
    });
  });

  it("finds the one without output before it in a layer that starts with an empty block", async () => {
    const tar = gunzipSync(goldenLayer(SOUND[0]!));
    const blob = concatBytes([gzipSync(new Uint8Array(0)), gzipSync(tar)]);
    const built = await build(blob, { emptyStart: "merge", spanSizeBytes: 65_536 });
    const layer = { ...built, blob, index: built.index! };
    assert.equal((await verify(layer, encodeZtoc(layer.index))).difference, undefined);
  });

  const spanForgeries: readonly [
    string,
    (index: LayerIndex) => LayerIndex,
    Partial<IndexDifference>,
    quick: boolean,
  ][] = [
    [
      "a forged window",
      (index) => {
        const window = new Uint8Array(index.checkpoints[2]!.window);
        window[777]! += 1;
        return withCheckpoint(index, 2, { window });
      },
      { part: "span", number: 2, field: "window", offset: 777 },
      false,
    ],
    [
      "a wrong bit count",
      (index) => {
        const bits = (index.checkpoints[1]!.bits % 7) + 1;
        return withCheckpoint(index, 1, { bits });
      },
      { part: "span", number: 1, field: "bits" },
      false,
    ],
    [
      "a moved checkpoint",
      (index) => {
        const uncompressedOffset = index.checkpoints[3]!.uncompressedOffset + 1;
        return withCheckpoint(index, 3, { uncompressedOffset });
      },
      { part: "span", number: 3, field: "uncompressed offset" },
      false,
    ],
    [
      "a wrong span digest",
      (index) => {
        const spans = changed(index.spans, 1, { digest: sha256(Buffer.from("other")) });
        return { ...index, spans };
      },
      { part: "span", number: 1, field: "digest", have: sha256(Buffer.from("other")) },
      true,
    ],
    [
      "a checkpoint that is not there",
      (index) => {
        const last = index.checkpoints.at(-1)!;
        const span = index.spans.at(-1)!;
        const more = {
          ...last,
          compressedOffset: last.compressedOffset + 5,
          uncompressedOffset: last.uncompressedOffset + 5,
        };
        return {
          ...index,
          checkpoints: [...index.checkpoints, more],
          spans: [...index.spans, span],
        };
      },
      { part: "span", field: "checkpoint", want: "none" },
      true,
    ],
    [
      "a checkpoint left out",
      (index) => ({
        ...index,
        checkpoints: index.checkpoints.slice(0, -1),
        spans: index.spans.slice(0, -1),
      }),
      { part: "span", field: "checkpoint", have: "none" },
      true,
    ],
    [
      "a wrong span size",
      (index) => ({ ...index, spanSizeBytes: index.spanSizeBytes * 2 }),
      { part: "span", number: 1, field: "compressed offset" },
      false,
    ],
    [
      "a wrong blob length",
      (index) => ({ ...index, compressedSizeBytes: index.compressedSizeBytes + 1 }),
      { part: "ztoc", field: "compressed_archive_size" },
      true,
    ],
    [
      "a wrong tar length",
      (index) => ({ ...index, uncompressedSizeBytes: index.uncompressedSizeBytes + 512 }),
      { part: "ztoc", field: "uncompressed_archive_size" },
      false,
    ],
  ];
  for (const [name, change, want, quick] of spanForgeries) {
    it(`names ${name}`, async () => {
      const layer = await layerOf("pax-single-stream");
      const ztoc = forge(change(layer.index));
      const { difference } = await verify(layer, ztoc);
      assert.ok(difference);
      assert.notEqual(difference.want, difference.have);
      for (const [key, value] of Object.entries(want)) {
        assert.equal(difference[key as keyof IndexDifference], value, JSON.stringify(difference));
      }
      const quickly = await verify(layer, ztoc, { isQuick: true });
      assert.equal(quickly.difference !== undefined, quick, JSON.stringify(quickly));
    });
  }

  const entryForgeries: readonly [Partial<TarEntry>, field: string, have: string][] = [
    [{ name: b("swapped\x00\xff") }, "name", '"swapped\\x00\\xff"'],
    [{ type: "fifo" }, "type", "fifo"],
    [{ linkname: b("/etc/shadow") }, "linkname", '"/etc/shadow"'],
    [{ mode: 0o4711 }, "mode", "04711"],
    [{ uid: 4_294_967_295 }, "uid", "4294967295"],
    [{ gid: 77 }, "gid", "77"],
    [{ uname: b("mallory") }, "uname", '"mallory"'],
    [{ gname: b("mallory") }, "gname", '"mallory"'],
    [{ mtimeSec: 1, mtimeNsec: 5 }, "mod_time", "1970-01-01T00:00:01.000000005Z"],
    [{ devmajor: 8 }, "devmajor", "8"],
    [{ devminor: 9 }, "devminor", "9"],
    [{ sizeBytes: 1 }, "size", "1"],
    [
      { paxRecords: new Map([[b("SCHILY.xattr.user.x"), b("y")]]) },
      'PAX record "SCHILY.xattr.user.x"',
      '"y"',
    ],
  ];
  for (const [change, field, have] of entryForgeries) {
    it(`names a changed ${field} of a file`, async () => {
      const layer = await layerOf("gnu-single-stream");
      const at = layer.index.entries.findIndex((one) => one.type === "reg" && one.sizeBytes > 2000);
      const entry = layer.index.entries[at]!;
      const { difference } = await verify(layer, forge(withEntry(layer.index, at, change)));
      assert.deepEqual(
        { ...difference, want: "" },
        {
          part: "entry",
          number: at,
          name: entry.name,
          field,
          offset: entry.headerOffset,
          want: "",
          have,
        },
      );
    });
  }

  it("names a moved file offset, also where it is out of order", async () => {
    const layer = await layerOf("gnu-single-stream");
    const at = layer.index.entries.findIndex((one) => one.type === "reg" && one.sizeBytes > 2000);
    for (const by of [512, -512, 7]) {
      const dataOffset = layer.index.entries[at]!.dataOffset + by;
      const { difference } = await verify(layer, forge(withEntry(layer.index, at, { dataOffset })));
      assert.equal(difference?.field, "offset");
      assert.equal(difference.number, at);
      assert.equal(difference.have, String(dataOffset));
    }
  });

  it("names an entry that is missing, one too many, and one behind the last", async () => {
    const layer = await layerOf("gnu-single-stream");
    const { entries } = layer.index;
    const of = async (changedEntries: readonly TarEntry[]) =>
      (await verify(layer, forge({ ...layer.index, entries: changedEntries }))).difference;
    const missing = await of(entries.filter((_, at) => at !== 4));
    assert.deepEqual([missing?.number, missing?.field], [4, "name"]);
    assert.equal(missing?.name, entries[4]!.name);
    const extra = await of([...entries.slice(0, 6), entries[5]!, ...entries.slice(6)]);
    assert.deepEqual([extra?.number, extra?.field], [6, "name"]);
    const shortened = await of(entries.slice(0, -1));
    assert.deepEqual(
      [shortened?.number, shortened?.field, shortened?.have],
      [entries.length - 1, "entry", "none"],
    );
    const trailing = await of([...entries, { ...entries.at(-1)!, name: b("trailing") }]);
    assert.deepEqual(
      [trailing?.number, trailing?.field, trailing?.want, trailing?.have],
      [entries.length, "entry", "none", '"trailing"'],
    );
  });

  it("finds in a grid what it finds in a gzip layer", async () => {
    const layer = await layerOf("uncompressed");
    const spans = changed(layer.index.spans, 2, { digest: sha256(new Uint8Array(3)) });
    const forged = encodeZtoc({ ...layer.index, spans });
    for (const isQuick of [false, true]) {
      const { difference } = await verify(layer, forged, { isQuick });
      assert.deepEqual([difference?.number, difference?.field], [2, "digest"]);
    }
    const entries = changed(layer.index.entries, 3, { uid: 99 });
    const { difference } = await verify(layer, encodeZtoc({ ...layer.index, entries }));
    assert.deepEqual([difference?.number, difference?.field], [3, "uid"]);
  });

  it("tells a layer that is another one from an index that lies", async () => {
    const layer = await layerOf("pax-single-stream");
    const ztoc = encodeZtoc(layer.index);
    const blob = new Uint8Array(layer.blob);
    const middle = Math.floor(blob.length / 2);
    blob[middle] = 255 - blob[middle]!;
    const damaged = await verify({ ...layer, blob }, ztoc);
    assert.deepEqual([damaged.difference?.part, damaged.difference?.field], ["blob", "digest"]);
    const quick = await verify({ ...layer, blob }, ztoc, { isQuick: true });
    assert.deepEqual([quick.difference?.part, quick.difference?.field], ["blob", "digest"]);
    const diffId = sha256(blob);
    const other = await verify({ ...layer, diffId }, ztoc);
    assert.deepEqual([other.difference?.part, other.difference?.have], ["content", diffId]);
    assert.equal(
      (await verify({ ...layer, diffId }, ztoc, { isQuick: true })).difference,
      undefined,
    );
  });

  it("names what is malformed, and reads nothing of the layer then", async () => {
    const layer = await layerOf("pax-single-stream");
    const ztoc = encodeZtoc(layer.index);
    const unread: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => assert.fail("the layer was read"),
    };
    const { layerDigest, diffId } = layer;
    const common = { layerDigest, diffId, compression: "gzip" } as const;
    const half = await verifyZtoc(unread, { ...common, ztoc: ztoc.subarray(0, 1000) });
    assert.deepEqual([half.difference?.part, half.difference?.field], ["ztoc", "ztoc"]);
    const bits = await verifyZtoc(unread, {
      ...common,
      ztoc: forge(withCheckpoint(layer.index, 1, { bits: 9 })),
    });
    assert.match(bits.difference?.have ?? "", /bits of checkpoint 1 are 9/);
    const kind = await verifyZtoc(unread, { ...common, ztoc, compression: "zstd" });
    assert.deepEqual([kind.difference?.want, kind.difference?.have], ["zstd", "gzip"]);
    const moved = forge(withEntry(layer.index, 3, { dataOffset: 7 }));
    const quick = await verifyZtoc(unread, { ...common, ztoc: moved, isQuick: true });
    assert.equal(quick.difference?.part, "ztoc");
  });

  it("stops when it is aborted", async () => {
    const layer = await layerOf("pax-single-stream");
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(verify(layer, encodeZtoc(layer.index), { signal }), /enough/);
  });
});
