// What kinds of layers there are in the world, and what becomes of each: a ztoc that reads back, or no ztoc and a reason.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { concatBytes, sha256 } from "@soci-ts/core";
import { decodeZtoc, type LayerIndex } from "@soci-ts/layer-index";
import {
  type BuiltLayerBlob,
  buildTar,
  gzipLayer,
  layerOf,
  type TarItem,
  writeLayout,
} from "@soci-ts/testkit";
import { type CreatedIndex, createIndex } from "./create-index.ts";
import { kindSkipReason } from "./layer-kinds.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { type Bench, failure, fileItems, openBench } from "./testing/fixtures.ts";

const OCI = "application/vnd.oci.image.layer";
const DOCKER = "application/vnd.docker.image.rootfs";
const TAR = await buildTar(fileItems("etc/file", 9_000));
const END = new Uint8Array(1024);
const PLAIN = gzipLayer(await buildTar(fileItems("etc/always", 3_000, 9)));

async function create(bench: Bench, layers: readonly BuiltLayerBlob[]): Promise<CreatedIndex> {
  const directory = join(bench.directory, "layout");
  await writeLayout(directory, layers);
  return createIndex({
    source: ociLayoutImageSource(directory),
    store: bench.store,
    spanSizeBytes: 4_096,
    minLayerSizeBytes: 0,
  });
}

const ofType = (mediaType: string, blob: Uint8Array = gzipSync(TAR)): BuiltLayerBlob =>
  layerOf(TAR, blob, mediaType);

/** A header block of a tar with another type flag. */
function flagged(tar: Uint8Array, flag: string, at = 512): Uint8Array {
  const bytes = Buffer.from(tar);
  bytes.write(flag, at + 156, "latin1");
  bytes.write("        ", at + 148, "latin1");
  const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
  return bytes;
}

/** Each file's header and content in a member of its own, then the table of contents, then an empty member with an extra field: eStargz. */
async function estargzLayer(): Promise<BuiltLayerBlob> {
  const items = ["a", "b", "stargz.index.json"].map((name): TarItem => ({ name, content: name }));
  const tars = await Promise.all(items.map((item) => buildTar([item])));
  const parts = tars.map((tar) => tar.subarray(0, 1024));
  const tar = concatBytes([...parts, END]);
  const [a, b, toc] = parts as [Uint8Array, Uint8Array, Uint8Array];
  const tocOffset = Buffer.from("0000000000000123STARGZ", "latin1");
  const extra = concatBytes([Buffer.from("SG"), Uint8Array.of(tocOffset.length, 0), tocOffset]);
  const footer = concatBytes([
    Uint8Array.of(0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, extra.length, 0),
    extra,
    Uint8Array.of(1, 0, 0, 255, 255, ...new Array<number>(8).fill(0)),
  ]);
  const members = [a, b, concatBytes([toc, END])].map((part) => gzipSync(part));
  return layerOf(tar, concatBytes([...members, footer]), `${OCI}.v1.tar+gzip`);
}

const INDEXED: Readonly<Record<string, BuiltLayerBlob>> = {
  "gzip of OCI": ofType(`${OCI}.v1.tar+gzip`),
  "gzip of Docker": ofType(`${DOCKER}.diff.tar.gzip`),
  "uncompressed of OCI": ofType(`${OCI}.v1.tar`, TAR),
  "uncompressed of Docker": ofType(`${DOCKER}.diff.tar`, TAR),
  "of eStargz": await estargzLayer(),
  "without an entry": gzipLayer(END),
  "without an entry, uncompressed": layerOf(END, END, `${OCI}.v1.tar`),
  "with a tar of no bytes": gzipLayer(new Uint8Array(0)),
};

const SKIPPED: Readonly<Record<string, readonly [layer: BuiltLayerBlob, reason: RegExp]>> = {
  "zstd of OCI": [ofType(`${OCI}.v1.tar+zstd`), /zstd" can't be read at an offset/],
  "zstd of Docker": [ofType(`${DOCKER}.diff.tar.zstd`), /can't be read at an offset/],
  "non-distributable": [ofType(`${OCI}.nondistributable.v1.tar`, TAR), /do not distribute/],
  "non-distributable gzip": [ofType(`${OCI}.nondistributable.v1.tar+gzip`), /do not distribute/],
  "non-distributable zstd": [ofType(`${OCI}.nondistributable.v1.tar+zstd`), /do not distribute/],
  "Docker's foreign": [ofType(`${DOCKER}.foreign.diff.tar.gzip`), /do not distribute/],
  "of an unknown type": [ofType("application/vnd.example.layer"), /of no known kind of layer/],
  "uncompressed without a byte": [
    layerOf(new Uint8Array(0), new Uint8Array(0), `${OCI}.v1.tar`),
    /the layer has no span/,
  ],
  "with a sparse file of old GNU tar": [gzipLayer(flagged(TAR, "S")), /"etc\/file" is a sparse/],
  "with a sparse file of PAX": [
    gzipLayer(
      await buildTar([
        { name: "s", content: "", pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0" } },
      ]),
    ),
    /"s" is a sparse file/,
  ],
  "with a contiguous file": [gzipLayer(flagged(TAR, "7")), /of type "7", want a plain file/],
  "with a global PAX header": [
    gzipLayer(concatBytes([await globalHeader(), TAR])),
    /the header of "etc\/" is at 1024, want 0/,
  ],
};

async function globalHeader(): Promise<Uint8Array> {
  const record = await buildTar([{ name: "pax_global_header", content: "13 comment=x\n" }]);
  return flagged(record.subarray(0, 1024), "g", 0);
}

/** All of them are the layers of one image. */
const NAMED = Object.entries({
  ...INDEXED,
  ...Object.fromEntries(Object.entries(SKIPPED).map(([name, [layer]]) => [name, layer])),
});

/** Of each layer by name: the decoded ztoc, or why it has none. */
async function outcomesOf(
  named: readonly (readonly [string, BuiltLayerBlob])[],
): Promise<ReadonlyMap<string, LayerIndex | string>> {
  await using bench = await openBench();
  const { layers } = await create(
    bench,
    named.map(([, layer]) => layer),
  );
  const outcomes = new Map<string, LayerIndex | string>();
  for (const [at, [name]] of named.entries()) {
    const { ztoc, skipped = "neither a ztoc nor a reason" } = layers[at] ?? {};
    const bytes = ztoc && (await bench.store.readBlob(ztoc.digest));
    outcomes.set(name, bytes === undefined ? skipped : decodeZtoc(bytes));
  }
  return outcomes;
}

const OUTCOMES = await outcomesOf(NAMED);

describe("createIndex() on every kind of layer", () => {
  for (const [name, { blob }] of Object.entries(INDEXED)) {
    it(`indexes a layer ${name}`, () => {
      const index = OUTCOMES.get(name);
      assert.ok(typeof index === "object", `skipped: ${index}`);
      assert.equal(index.compressedSizeBytes, blob.length);
    });
  }

  it("finds the files of an eStargz layer", () => {
    const index = OUTCOMES.get("of eStargz");
    assert.ok(typeof index === "object");
    const names: string[] = index.entries.map((entry) => entry.name);
    assert.deepEqual(names, ["a", "b", "stargz.index.json"]);
  });

  for (const [name, [, reason]] of Object.entries(SKIPPED)) {
    it(`skips a layer ${name}, and says why`, () => {
      const outcome = OUTCOMES.get(name);
      assert.ok(typeof outcome === "string", "it was indexed");
      assert.match(outcome, reason);
    });
  }

  for (const suffix of [
    "tar+gzip+encrypted",
    "tar+encrypted",
    "tar+zstd+encrypted",
    "tar+gzip+enc",
  ]) {
    it(`refuses an image with a layer of ${suffix}, and reads none of it`, async () => {
      await using other = await openBench();
      const layer = layerOf(TAR, TAR, `${OCI}.v1.${suffix}`);
      const creating = create(other, [PLAIN, layer]);
      await assert.rejects(
        creating,
        failure("unimplemented", /is encrypted .* want the decrypted/),
      );
      assert.deepEqual(other.store.listIndexes(), []);
    });
  }

  it("indexes an image of 100 layers, ten different ones", async () => {
    await using other = await openBench();
    const different: BuiltLayerBlob[] = [];
    for (let at = 0; at < 10; at += 1) {
      different.push(gzipLayer(await buildTar([{ name: `file-${at}`, content: `${at}` }])));
    }
    const layers = Array.from({ length: 100 }, (_, at) => different[at % 10] as BuiltLayerBlob);
    const { layers: outcomes } = await create(other, layers);
    assert.equal(outcomes.filter(({ ztoc }) => ztoc !== undefined).length, 100);
    assert.equal(new Set(outcomes.map(({ ztoc }) => ztoc?.digest)).size, 10);
  });
});

describe("kindSkipReason()", () => {
  it("says in how many other places a foreign layer can be had", () => {
    const mediaType = `${DOCKER}.foreign.diff.tar.gzip`;
    const layer = { mediaType, digest: sha256(TAR), size: 5 };
    assert.match(kindSkipReason(layer) ?? "", /names no URL/);
    assert.match(kindSkipReason({ ...layer, urls: ["https://a/"] }) ?? "", /names 1 other place/);
  });
});
