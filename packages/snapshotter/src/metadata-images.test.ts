import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ByteString, sha256, silentLogger } from "@soci-ts/core";
import { ErofsReader } from "@soci-ts/erofs";
import { buildLayerIndex } from "@soci-ts/layer-index";
import { buildTar, type TarItem } from "@soci-ts/testkit";
import { ChainImages, type ImageInput, readSealedImage, sealImage } from "./metadata-images.ts";

async function input(items: readonly TarItem[], ztoc?: string): Promise<ImageInput> {
  const tar = await buildTar(items);
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield tar;
  }
  const built = await buildLayerIndex(stream(), { compression: "none", spanSizeBytes: 65_536 });
  return {
    layerDigest: sha256(tar),
    ztocDigest: ztoc === undefined ? undefined : sha256(Buffer.from(ztoc)),
    uncompressedSizeBytes: built.uncompressedSizeBytes,
    entries: built.entries,
  };
}

const bytes = async (path: string): Promise<Uint8Array> => readSealedImage(await readFile(path));

describe("ChainImages", () => {
  let directory = "";
  let whole: ImageInput;
  let implied: ImageInput;
  let linking: ImageInput;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci-images-"));
    const root = { name: "./", type: "directory", mode: 0o755 } as const;
    whole = await input([
      root,
      { name: "d/", type: "directory", mode: 0o1777 },
      { name: "d/file", content: "bytes" },
    ]);
    implied = await input([{ name: "d/other", content: "x" }]);
    linking = await input([{ name: "d/hard", type: "link", linkname: "d/file" }]);
  });
  after(() => rm(directory, { recursive: true }));

  const chain = (...layers: readonly ImageInput[]): ChainImages =>
    new ChainImages(directory, layers, { logger: silentLogger });

  it("finds a layer that says everything itself by its digest, wherever it stands", async () => {
    const first = await chain(whole).image(0);
    const above = await chain(implied, whole).image(1);
    assert.equal(above.path, first.path);
    assert.deepEqual([first.devices, above.devices], [[0], [1]]);
  });

  it("keeps a layer with implied directories by what is below it", async () => {
    const over = await chain(whole, implied).image(1);
    const alone = await chain(implied).image(0);
    assert.notEqual(over.path, alone.path);
    const modeOf = async (path: string): Promise<number> => {
      const reader = new ErofsReader(await bytes(path));
      return reader.inode(reader.lookup(reader.rootNid, "d" as ByteString)!.nid).mode;
    };
    assert.equal(await modeOf(over.path), 0o1777);
    assert.equal(await modeOf(alone.path), 0o755);
  });

  it("knows which layers an image's devices are, made or found", async () => {
    const made = await chain(whole, implied, linking).image(2);
    assert.deepEqual(made.devices, [2, 0]);
    assert.deepEqual(await chain(whole, implied, linking).image(2), made);
  });

  it("does not share what an index says with images that do not have that index", async () => {
    const honest = await chain({ ...whole, ztocDigest: sha256(Buffer.from("honest")) }).image(0);
    const other = await chain({ ...whole, ztocDigest: sha256(Buffer.from("other")) }).image(0);
    assert.notEqual(honest.path, other.path);
  });

  it("makes a damaged image anew, the same", async () => {
    const { path } = await chain(whole).image(0);
    const good = await readFile(path);
    for (const damaged of [
      good.subarray(0, 100),
      Buffer.alloc(0),
      Buffer.from(good).fill(1, 2000, 2010),
    ]) {
      await writeFile(path, damaged);
      assert.equal((await chain(whole).image(0)).path, path);
      assert.ok((await readFile(path)).equals(good));
    }
    assert.ok((await readdir(join(directory, "v1"))).every((name) => name.endsWith(".erofs")));
  });

  it("names the layer whose file table makes no tree", async () => {
    const broken = await input([{ name: "hard", type: "link", linkname: "nowhere" }]);
    await assert.rejects(chain(broken).image(0), (error: Error) => {
      assert.ok(error.message.includes(broken.layerDigest));
      return true;
    });
  });
});

describe("readSealedImage()", () => {
  it("takes what sealImage() gives, whole and unaltered", () => {
    const sealed = sealImage(Buffer.from("image"));
    assert.equal(Buffer.from(readSealedImage(sealed)).toString(), "image");
    for (let length = 0; length < sealed.length; length += 1) {
      assert.throws(() => readSealedImage(sealed.subarray(0, length)), { code: "data_loss" });
    }
    for (let at = 0; at < sealed.length; at += 1) {
      const altered = Uint8Array.from(sealed);
      altered[at]! += 1;
      assert.throws(() => readSealedImage(altered), { code: "data_loss" });
    }
  });
});
