import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { buildTar, seededBytes } from "@soci-ts/testkit";
import { archiveImageSource } from "./archive-source.ts";
import { spoolArchive } from "./spool-archive.ts";
import { layoutItems } from "./testing/archives.ts";
import { failure, openBench, twoLayerLayout } from "./testing/fixtures.ts";

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe("spoolArchive()", () => {
  it("keeps an archive of a stream and finds its image, whatever the pieces are", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const bytes = await buildTar(await layoutItems(image));
    for (const size of [777, 65_536]) {
      await using file = await bench.store.temporaryFile();
      const spooled = await spoolArchive("stdin", inPieces(bytes, size), file);
      const source = archiveImageSource({ ...spooled, reference: "-" });
      const { manifestDescriptor, manifest } = await source.resolve(undefined);
      assert.equal(manifestDescriptor.digest, image.manifest.digest);
      const [layer] = manifest.layers;
      assert.equal((await source.openBlob(layer!).readAt(0, layer!.size)).length, layer!.size);
    }
  });

  it("does not keep what follows the archive, nor what is no archive", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const bytes = Buffer.from(await buildTar(await layoutItems(image)));
    await using file = await bench.store.temporaryFile();
    const trailing = Buffer.concat([bytes, Buffer.alloc(1_000_000)]);
    await spoolArchive("stdin", inPieces(trailing, 4096), file);
    assert.ok((await file.stat()).size < bytes.length + 4096);

    await using other = await bench.store.temporaryFile();
    const noise = inPieces(seededBytes(1_000_000, 3), 4096);
    await assert.rejects(spoolArchive("stdin", noise, other), failure("data_loss", /stdin/));
    assert.equal((await other.stat()).size, 0);
  });
});
