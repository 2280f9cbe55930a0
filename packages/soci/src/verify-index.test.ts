import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import { decodeZtoc, encodeZtoc } from "@soci-ts/layer-index";
import { buildTar, gzipLayer, type TarItem, writeLayout } from "@soci-ts/testkit";
import { createIndex } from "./create-index.ts";
import { findIndex } from "./find-index.ts";
import type { ImageSource, ResolvedImage } from "./image-source.ts";
import { layoutIndexReader } from "./layout-index-reader.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { parsePrefetchList } from "./prefetch-list.ts";
import { parseSociIndex, type SociIndex } from "./soci-index.ts";
import { type Bench, failure, fileItems, openBench } from "./testing/fixtures.ts";
import {
  goldenCases,
  goldenLayers,
  goldenText,
  writeGoldenLayout,
} from "./testing/golden-layout.ts";
import { type VerifyIndexOptions, type VerifyProgress, verifyIndex } from "./verify-index.ts";

const SIZES = { spanSizeBytes: 65_536, minLayerSizeBytes: 0 };

interface Indexed {
  readonly source: ImageSource;
  readonly image: ResolvedImage;
  readonly text: string;
  readonly options: VerifyIndexOptions;
}

async function indexed(bench: Bench, directory: string, minLayerSizeBytes = 0): Promise<Indexed> {
  const { store } = bench;
  const source = ociLayoutImageSource(directory);
  const made = await createIndex({ source, store, ...SIZES, minLayerSizeBytes });
  const bytes = await store.readBlob(made.indexDescriptor.digest);
  const image = await source.resolve(undefined);
  const options: VerifyIndexOptions = {
    source,
    image,
    index: parseSociIndex(bytes),
    readZtoc: ({ descriptor }) => store.readBlob(descriptor.digest),
    readPrefetchList: async ({ digest }) => parsePrefetchList(await store.readBlob(digest)),
  };
  return { source, image, text: Buffer.from(bytes).toString(), options };
}

async function layout(bench: Bench, ...layers: readonly (readonly TarItem[])[]): Promise<string> {
  const blobs = await Promise.all(layers.map(async (items) => gzipLayer(await buildTar(items))));
  const directory = join(bench.directory, "layout");
  await writeLayout(directory, blobs);
  return directory;
}

/** The index with its text changed. */
function edited(text: string, edit: (manifest: ManifestText) => void): SociIndex {
  const manifest = JSON.parse(text) as ManifestText;
  edit(manifest);
  return parseSociIndex(Buffer.from(JSON.stringify(manifest)));
}

interface ManifestText {
  layers: { digest: string; size: number; annotations: Record<string, string> }[];
  subject: { digest: string };
}

const layers = await goldenLayers();

describe("verifyIndex(), of the reference tool's indexes", async () => {
  for (const name of await goldenCases()) {
    it(`proves v1 and v2 of ${name}`, async () => {
      await using bench = await openBench();
      const directory = join(bench.directory, "layout");
      await writeGoldenLayout(name, layers, directory);
      const { options, text, image } = await indexed(bench, directory);
      assert.equal(text, await goldenText(name, "soci-index.json"));
      const { difference, layers: verified } = await verifyIndex(options);
      assert.equal(difference, undefined);
      for (const { outcome } of verified) assert.equal(outcome, "verified");
      const bytes = Buffer.from(await goldenText(name, "v2-manifest.json"));
      const digest = sha256(bytes);
      const manifestDescriptor = { ...image.manifestDescriptor, digest, size: bytes.length };
      const second = parseSociIndex(Buffer.from(await goldenText(name, "v2-soci-index.json")));
      const converted = { ...image, manifestDescriptor };
      const v2 = { ...options, index: second, image: converted, isQuick: true };
      assert.equal((await verifyIndex(v2)).difference, undefined);
    });
  }
});

describe("verifyIndex()", () => {
  it("names the first layer that differs, looks at the others, and lists those without a ztoc", async () => {
    await using bench = await openBench();
    const { store } = bench;
    const items = (name: string, seed: number) => fileItems(name, 200_000, seed);
    const small = fileItems("etc/tiny", 10);
    const directory = await layout(bench, items("a", 1), small, items("b", 2), items("c", 3));
    const { options } = await indexed(bench, directory, 10_000);
    const [first, second, third] = options.index.ztocs.map(({ descriptor }) => descriptor.digest);
    const readZtoc: VerifyIndexOptions["readZtoc"] = async ({ descriptor: { digest } }) => {
      const bytes = await store.readBlob(digest);
      if (digest === first) return bytes;
      const { entries, ...index } = decodeZtoc(bytes);
      const moved = entries.map((entry, at) =>
        at === 1 ? { ...entry, mode: digest === second ? 0o777 : 0o700 } : entry,
      );
      const forged = encodeZtoc({ ...index, entries: moved });
      return digest === second || digest === third ? forged : bytes;
    };
    const seen: VerifyProgress[] = [];
    const onProgress = (progress: VerifyProgress) => seen.push(progress);
    const verdict = await verifyIndex({ ...options, readZtoc, onProgress });
    assert.deepEqual(
      verdict.layers.map(({ outcome }) => outcome),
      ["verified", "absent", "different", "different"],
    );
    assert.deepEqual(verdict.difference, {
      layer: verdict.layers[2]!.layer.descriptor.digest,
      part: "entry",
      number: 1,
      name: "b",
      field: "mode",
      offset: 512,
      want: "0644",
      have: "0777",
    });
    assert.equal(verdict.layers[3]!.difference?.have, "0700");
    assert.equal(verdict.layers[0]!.stated?.entryCount, 2);
    assert.equal(seen.filter(({ outcome }) => outcome !== undefined).length, 3);
  });

  it("reads a layer that an image has twice only once", async () => {
    await using bench = await openBench();
    const items = fileItems("same", 100_000);
    const directory = await layout(bench, items, items);
    const { options, source } = await indexed(bench, directory);
    let opened = 0;
    const openBlob: ImageSource["openBlob"] = (descriptor) => {
      opened += 1;
      return source.openBlob(descriptor);
    };
    const { difference, layers: verified } = await verifyIndex({
      ...options,
      source: { openBlob },
    });
    assert.deepEqual([difference, verified.length, opened], [undefined, 2, 1]);
  });

  it("compares what the index manifest says", async () => {
    await using bench = await openBench();
    const directory = await layout(bench, fileItems("a", 100_000, 1), fileItems("b", 100_000, 2));
    const { options, text } = await indexed(bench, directory);
    const other = sha256(Buffer.from("other"));
    const cases: readonly [string, (manifest: ManifestText) => void, RegExp, string][] = [
      ["subject", ({ subject }) => (subject.digest = other), /^subject$/, other],
      [
        "layer",
        ({ layers: [one] }) => (one!.annotations["com.amazon.soci.image-layer-digest"] = other),
        /image-layer-digest/,
        other,
      ],
      [
        "media type",
        ({ layers: [one] }) => (one!.annotations["com.amazon.soci.image-layer-mediaType"] = "x/y"),
        /image-layer-mediaType/,
        "x/y",
      ],
      [
        "span size",
        ({ layers: [one] }) => (one!.annotations["com.amazon.soci.span-size"] = "4194304"),
        /span-size/,
        "4194304",
      ],
      ["size", ({ layers: [one] }) => (one!.size += 1), /^size$/, ""],
    ];
    for (const [name, edit, field, have] of cases) {
      const { difference } = await verifyIndex({ ...options, index: edited(text, edit) });
      assert.equal(difference?.part, "index", name);
      assert.match(difference.field, field);
      if (have !== "") assert.equal(difference.have, have);
    }
    const two = edited(text, ({ layers: [one, another] }) => {
      Object.assign(another!.annotations, one!.annotations);
    });
    const { difference } = await verifyIndex({ ...options, index: two });
    assert.equal(difference?.want, "one ztoc for the layer");
  });

  it("notices a ztoc that is gone or damaged, and one of another layer", async () => {
    await using bench = await openBench();
    const directory = await layout(bench, fileItems("a", 100_000, 1), fileItems("b", 100_000, 2));
    const { options, text } = await indexed(bench, directory);
    const gone = new AppError("not_found", "Cannot read it: it is gone");
    const { difference } = await verifyIndex({ ...options, readZtoc: () => Promise.reject(gone) });
    assert.deepEqual([difference?.part, difference?.field], ["ztoc", "digest"]);
    const away = new AppError("unavailable", "Cannot ask");
    await assert.rejects(
      verifyIndex({ ...options, readZtoc: () => Promise.reject(away) }),
      failure("unavailable", /ask/),
    );
    const swapped = edited(text, ({ layers: [one, another] }) => {
      [one!.annotations, another!.annotations] = [another!.annotations, one!.annotations];
    });
    const verdict = await verifyIndex({ ...options, index: swapped });
    assert.equal(verdict.difference?.layer, options.image.manifest.layers[0]!.digest);
  });

  it("notices xattrs and opaque directories where the index says that there are none", async () => {
    await using bench = await openBench();
    const disable = (text: string): SociIndex =>
      edited(text, ({ layers: [one] }) => {
        one!.annotations["com.amazon.soci.disable-xattrs"] = "true";
      });
    const opaque = await layout(bench, [
      { name: "a/", type: "directory" },
      { name: "a/.wh..wh..opq", content: "" },
    ]);
    const made = await indexed(bench, opaque);
    const { difference } = await verifyIndex({ ...made.options, index: disable(made.text) });
    assert.deepEqual([difference?.number, difference?.want], [1, "an opaque directory"]);
    await using other = await openBench();
    const plain = await indexed(other, await layout(other, fileItems("plain", 10)));
    const verdict = await verifyIndex({ ...plain.options, index: disable(plain.text) });
    assert.equal(verdict.difference, undefined);
  });

  it("holds prefetch lists against the layers", async () => {
    await using bench = await openBench();
    const { store } = bench;
    const directory = await layout(bench, fileItems("a", 300_000));
    const source = ociLayoutImageSource(directory);
    const { options } = await indexed(bench, directory);
    const made = await createIndex({ source, store, ...SIZES, prefetchFiles: ["/a"] });
    const text = Buffer.from(await store.readBlob(made.indexDescriptor.digest)).toString();
    const index = parseSociIndex(Buffer.from(text));
    assert.equal(index.prefetchLists.length, 1);
    const listed = { ...options, index };
    assert.equal((await verifyIndex(listed)).difference, undefined);

    const partOf = async (changes: Partial<VerifyIndexOptions>): Promise<unknown> => {
      const { difference } = await verifyIndex({ ...listed, ...changes });
      return difference && [difference.part, difference.field];
    };
    const ranges = (startSpan: number, endSpan: number) => ({
      readPrefetchList: async () => [{ startSpan, endSpan }],
    });
    const { spanCount } = (await verifyIndex(listed)).layers[0]!.stated!;
    assert.equal(await partOf(ranges(0, spanCount)), undefined); // as the reference has it
    assert.deepEqual(await partOf(ranges(0, spanCount + 1)), ["prefetch", "spans"]);
    assert.deepEqual(await partOf(ranges(spanCount, spanCount)), ["prefetch", "spans"]);
    const failing = (error: AppError) => ({ readPrefetchList: () => Promise.reject(error) });
    const gone = new AppError("not_found", "gone");
    assert.deepEqual(await partOf(failing(gone)), ["prefetch", "list"]);
    const away = new AppError("unavailable", "Cannot ask");
    await assert.rejects(partOf(failing(away)), failure("unavailable", /ask/));
    const stray = edited(text, ({ layers: all }) => {
      all.at(-1)!.annotations["com.amazon.soci.image-layer-digest"] = sha256(Buffer.from("x"));
    });
    const field = "com.amazon.soci.image-layer-digest";
    assert.deepEqual(await partOf({ index: stray }), ["prefetch", field]);
  });

  it("names the layer that can't be read, and stops when it is aborted", async () => {
    await using bench = await openBench();
    const directory = await layout(bench, fileItems("a", 100_000));
    const { options, image } = await indexed(bench, directory);
    const { digest } = image.manifest.layers[0]!;
    const reason = new AppError("cancelled", "enough");
    const signal = AbortSignal.abort(reason);
    await assert.rejects(verifyIndex({ ...options, signal }), failure("cancelled", /enough/));
    await writeFile(join(directory, "blobs", digest.replace(":", "/")), "");
    await assert.rejects(verifyIndex(options), failure("data_loss", new RegExp(digest)));
  });
});

describe("layoutIndexReader()", () => {
  it("finds what index.json lists as referring to the image, and what its manifest names", async () => {
    await using bench = await openBench();
    const directory = await layout(bench, fileItems("a", 100_000));
    const { source, image, text, options } = await indexed(bench, directory);
    const client = layoutIndexReader(directory);
    const { manifestDescriptor, manifest } = image;
    const repository = bench.reference;
    const common = { client, repository, manifestDescriptor, manifest };
    assert.equal((await findIndex(common)).found, undefined);

    const digest = sha256(Buffer.from(text));
    const put = (bytes: string | Uint8Array, name: Digest): Promise<void> =>
      writeFile(join(directory, "blobs", name.replace(":", "/")), bytes);
    await put(text, digest);
    const entry = { ...manifestDescriptor, digest, size: text.length };
    const broken = { ...entry, digest: sha256(Buffer.from("broken")) };
    const manifests = [broken, manifestDescriptor, entry];
    await writeFile(join(directory, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
    const { found } = await findIndex(common);
    assert.deepEqual([found?.origin, found?.indexDescriptor.digest], ["referrers", digest]);
    const [ztoc] = options.index.ztocs;
    await put(await options.readZtoc(ztoc!), ztoc!.descriptor.digest);
    const bytes = await client.fetchBlob(repository, ztoc!.descriptor, { maxBytes: 1e6 });
    assert.equal(sha256(bytes), ztoc!.descriptor.digest);

    const annotations = { "com.amazon.soci.index-digest": digest };
    const bound = await findIndex({
      ...common,
      manifest: { ...manifest, annotations },
      policy: { kind: "bound" },
    });
    assert.equal(bound.found?.origin, "annotation");
    assert.ok(source.reference.startsWith("oci:"));
  });
});
