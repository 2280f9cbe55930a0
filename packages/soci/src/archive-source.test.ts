import assert from "node:assert/strict";
import { appendFile, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import type { Digest } from "@soci-ts/core";
import { parseManifest } from "@soci-ts/oci";
import {
  type BuiltImage,
  buildTar,
  command,
  gzipLayer,
  hasProgram,
  readLayoutBlob,
  type TarItem,
  writeLayout,
} from "@soci-ts/testkit";
import { archiveFileImageSource, parseArchiveName } from "./archive-source.ts";
import { createIndex } from "./create-index.ts";
import type { ImageSource } from "./image-source.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { hex, layoutItems, savedItems, skopeoCopy, writeTar } from "./testing/archives.ts";
import { failure, fileItems, openBench, twoLayerLayout } from "./testing/fixtures.ts";

const NO_SKOPEO = hasProgram("skopeo") ? false : "skopeo is not installed";
const IMAGE_NAME = "io.containerd.image.name";

function source(text: string): ImageSource {
  const name = parseArchiveName(text);
  assert.ok(name !== undefined, text);
  return archiveFileImageSource(name);
}

async function layers(): Promise<[Uint8Array, Uint8Array]> {
  return [
    await buildTar(fileItems("etc/large", 600_000, 1)),
    await buildTar(fileItems("etc/small", 6_000, 2)),
  ];
}

async function readLayers(image: ImageSource): Promise<Buffer[]> {
  const { manifest } = await image.resolve(undefined);
  return Promise.all(
    manifest.layers.map(async (layer) => {
      const pieces: Uint8Array[] = [];
      const blob = image.openBlob(layer);
      for await (const piece of blob.stream(0, blob.size)) pieces.push(piece);
      return Buffer.concat(pieces);
    }),
  );
}

async function editIndex(
  image: BuiltImage,
  edit: (entry: Record<string, unknown>) => object[],
): Promise<void> {
  const path = join(image.directory, "index.json");
  const index = JSON.parse(await readFile(path, "utf8")) as {
    manifests: [Record<string, unknown>];
  };
  await writeFile(path, JSON.stringify({ ...index, manifests: edit(index.manifests[0]) }));
}

/** The header block of a file of any size; its data is not there. */
async function headerOf(name: string, sizeBytes: number): Promise<Buffer> {
  const header = Buffer.from((await buildTar([{ name, content: "" }])).subarray(0, 512));
  // Base-256, as GNU tar writes sizes of 8 GiB and more.
  header.writeUInt32BE(2 ** 31, 124);
  header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

describe("parseArchiveName()", () => {
  it("splits at the first colon after the kind", () => {
    const cases: readonly [string, object | undefined][] = [
      ["oci-archive:a.tar", { kind: "oci-archive", path: "a.tar" }],
      ["oci-archive:/srv/a.tar:v1", { kind: "oci-archive", path: "/srv/a.tar", tag: "v1" }],
      ["docker-archive:a:app:v1", { kind: "docker-archive", path: "a", tag: "app:v1" }],
      ["docker-archive", undefined],
      ["oci:dir", undefined],
      ["registry.example/oci-archive:v1", undefined],
    ];
    for (const [text, expected] of cases) assert.deepEqual(parseArchiveName(text), expected, text);
    for (const text of ["oci-archive:", "docker-archive::v1", "oci-archive:a:"]) {
      assert.throws(() => parseArchiveName(text), failure("invalid_argument", /empty/), text);
    }
  });
});

describe("archiveFileImageSource(), of an OCI archive", () => {
  it("gives the same index as the layout", { skip: NO_SKOPEO }, async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const file = join(bench.directory, "a.tar");
    await skopeoCopy(image, `oci-archive:${file}:some/name:v1`);
    for (const name of [`oci-archive:${file}`, `oci-archive:${file}:some/name:v1`]) {
      const common = { store: bench.store, minLayerSizeBytes: 0, spanSizeBytes: 65_536 };
      const made = await createIndex({ ...common, source: source(name) });
      const expected = await createIndex({
        ...common,
        source: ociLayoutImageSource(image.directory),
      });
      assert.equal(made.reference, name);
      assert.equal(made.indexDescriptor.digest, expected.indexDescriptor.digest);
    }
    const absent = source(`oci-archive:${file}:v2`).resolve(undefined);
    await assert.rejects(absent, failure("not_found", /"some\/name:v1"/));
  });

  it("reads blobs whole and in part, wherever the names start", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const items = await layoutItems(image, "./");
    const file = await writeTar(join(bench.directory, "a.tar"), items);
    const archive = source(`oci-archive:${file}`);
    const { manifest } = await archive.resolve(undefined);
    const [layer] = manifest.layers;
    const expected = Buffer.from(await readLayoutBlob(image.directory, layer!.digest));
    const blob = source(`oci-archive:${file}`).openBlob(layer!);
    assert.deepEqual(Buffer.from(await blob.readAt(10, 100)), expected.subarray(10, 110));
    assert.deepEqual((await readLayers(archive))[0], expected);
    const pieces: Buffer[] = [];
    const memory = new Uint8Array(1000);
    for await (const piece of blob.stream(5, blob.size, { room: () => memory })) {
      assert.equal(piece.buffer, memory.buffer);
      pieces.push(Buffer.from(piece));
    }
    assert.deepEqual(Buffer.concat(pieces), expected.subarray(5));
    await assert.rejects(blob.readAt(blob.size, 1), failure("out_of_range", /bytes/));
    assert.deepEqual(await archive.platforms(), [{ os: "linux", architecture: "amd64" }]);
  });

  it("finds what lies behind 20 GiB without reading them", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const file = join(bench.directory, "a.tar");
    const size = 20 * 2 ** 30;
    await writeFile(file, await headerOf("blobs/sha256/large", size));
    await truncate(file, 512 + size);
    await appendFile(file, await buildTar(await layoutItems(image)));
    const archive = source(`oci-archive:${file}`);
    const { manifestDescriptor, manifest } = await archive.resolve(undefined);
    assert.equal(manifestDescriptor.digest, image.manifest.digest);
    const [layer] = manifest.layers;
    const blob = await archive.openBlob(layer!).readAt(0, layer!.size);
    assert.equal(`sha256:${hex(blob)}`, layer!.digest);
  });

  it("finds an image by the name that containerd and Docker give it", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const other = { ...image.config, mediaType: image.manifest.mediaType };
    await editIndex(image, (entry) => [
      { ...entry, annotations: { [IMAGE_NAME]: "docker.io/library/app:v1" } },
      { ...other, annotations: { [IMAGE_NAME]: "docker.io/library/b:v1" } },
    ]);
    const file = await writeTar(join(bench.directory, "a.tar"), await layoutItems(image));
    for (const name of ["app:v1", "docker.io/library/app:v1"]) {
      const resolved = await source(`oci-archive:${file}:${name}`).resolve(undefined);
      assert.equal(resolved.manifestDescriptor.digest, image.manifest.digest);
    }
    const several = source(`oci-archive:${file}`).resolve(undefined);
    await assert.rejects(several, failure("invalid_argument", /app:v1.*oci-archive:FILE:NAME/));
  });

  it("reads what `docker save` writes since version 25 as a layout", async () => {
    await using bench = await openBench();
    const tars = await layers();
    const plain = "application/vnd.oci.image.layer.v1.tar";
    const image = await writeLayout(
      join(bench.directory, "layout"),
      tars.map((tar) => ({ mediaType: plain, blob: tar, diffId: `sha256:${hex(tar)}` })),
    );
    const path = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
    const list = [
      {
        Config: path(image.config.digest),
        RepoTags: ["app:v1"],
        Layers: image.layers.map(({ digest }) => path(digest)),
      },
    ];
    const file = await writeTar(join(bench.directory, "a.tar"), [
      ...(await layoutItems(image)),
      { name: "manifest.json", content: JSON.stringify(list) },
    ]);
    for (const kind of ["oci-archive", "docker-archive"]) {
      const archive = source(`${kind}:${file}`);
      const { manifestDescriptor } = await archive.resolve(undefined);
      assert.equal(manifestDescriptor.digest, image.manifest.digest);
      assert.deepEqual(await readLayers(archive), tars.map(Buffer.from));
    }
  });

  it("refuses blobs that are links", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const items = await layoutItems(image);
    const path = `blobs/${image.manifest.digest.replace(":", "/")}`;
    const linked = items.map(
      (item): TarItem =>
        item.name === path ? { name: path, type: "symlink", linkname: "elsewhere" } : item,
    );
    const file = await writeTar(join(bench.directory, "a.tar"), linked);
    const resolving = source(`oci-archive:${file}`).resolve(undefined);
    await assert.rejects(resolving, failure("invalid_argument", /it is a link, want a file/));
  });

  it("refuses a blob of another size, and one that is not there", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const file = await writeTar(join(bench.directory, "a.tar"), await layoutItems(image));
    const archive = source(`oci-archive:${file}`);
    const { manifest } = await archive.resolve(undefined);
    const [layer] = manifest.layers;
    const longer = archive.openBlob({ ...layer!, size: layer!.size + 1 });
    await assert.rejects(longer.readAt(0, 1), failure("data_loss", /as its descriptor says/));
    const absent = archive.openBlob({ ...layer!, digest: `sha256:${"0".repeat(64)}` as Digest });
    await assert.rejects(absent.readAt(0, 1), failure("not_found", /no such file/));
  });
});

describe("archiveFileImageSource(), of a docker archive of the old form", () => {
  it("names the layers by their diffIDs, and indexes them", async () => {
    await using bench = await openBench();
    const tars = await layers();
    const items = savedItems(tars.map((tar, at) => ({ id: `id${at}`, tar })));
    const file = await writeTar(join(bench.directory, "a.tar"), items);
    for (const name of ["", ":app:v1", ":docker.io/library/app:v1"]) {
      const archive = source(`docker-archive:${file}${name}`);
      const { manifest, manifestBytes, manifestDescriptor } = await archive.resolve(undefined);
      assert.equal(hex(manifestBytes), manifestDescriptor.digest.slice(7));
      assert.equal(parseManifest(manifestBytes, manifestDescriptor.mediaType).kind, "manifest");
      const digests = manifest.layers.map(({ digest }) => digest);
      assert.deepEqual(
        digests,
        tars.map((tar) => `sha256:${hex(tar)}`),
      );
      assert.deepEqual(await readLayers(archive), tars.map(Buffer.from));
    }
    const made = await createIndex({
      source: source(`docker-archive:${file}`),
      store: bench.store,
      minLayerSizeBytes: 0,
    });
    assert.equal(made.layers.filter(({ ztoc }) => ztoc !== undefined).length, 2);
  });

  it("reads what skopeo writes", { skip: NO_SKOPEO }, async () => {
    await using bench = await openBench();
    const tars = await layers();
    const image = await writeLayout(
      join(bench.directory, "layout"),
      tars.map((tar) => gzipLayer(tar)),
    );
    const file = join(bench.directory, "a.tar");
    await skopeoCopy(image, `docker-archive:${file}:app:v1`);
    const archive = source(`docker-archive:${file}:app:v1`);
    assert.deepEqual(await readLayers(archive), tars.map(Buffer.from));
    assert.deepEqual(await archive.platforms(), [{ os: "linux", architecture: "amd64" }]);
  });

  it("follows links between layers inside the archive", async () => {
    await using bench = await openBench();
    const [large, small] = await layers();
    const items = savedItems([
      { id: "a", tar: large },
      { id: "b", tar: large, link: { type: "symlink", to: "../a/layer.tar" } },
      { id: "c", tar: small },
      { id: "d", tar: small, link: { type: "link", to: "c/layer.tar" } },
    ]);
    const file = await writeTar(join(bench.directory, "a.tar"), items);
    const read = await readLayers(source(`docker-archive:${file}`));
    assert.deepEqual(read, [large, large, small, small].map(Buffer.from));
  });

  it("refuses links that lead elsewhere", async () => {
    await using bench = await openBench();
    const [tar] = await layers();
    const file = join(bench.directory, "a.tar");
    const cases: readonly [string, "symlink" | "link", RegExp][] = [
      ["/etc/shadow", "symlink", /out of the archive/],
      ["../../x", "symlink", /out of the archive/],
      ["../x", "link", /out of the archive/],
      ["/x", "link", /out of the archive/],
      ["layer.tar", "symlink", /more than 8 links/],
      ["../a", "symlink", /not a regular file/],
      ["../b/layer.tar", "symlink", /it has no "b\/layer.tar"/],
    ];
    for (const [to, type, message] of cases) {
      await writeTar(file, savedItems([{ id: "a", tar, link: { type, to } }]));
      const code = to === "../b/layer.tar" ? "not_found" : "invalid_argument";
      const resolving = source(`docker-archive:${file}`).resolve(undefined);
      await assert.rejects(resolving, failure(code, message), to);
    }
  });

  it("hashes layers that are compressed, as other tools write them", async () => {
    await using bench = await openBench();
    const tars = await layers();
    const blobs = tars.map((tar) => gzipSync(tar));
    const items = savedItems(tars.map((tar, at) => ({ id: `${at}`, tar, blob: blobs[at]! })));
    const file = await writeTar(join(bench.directory, "a.tar"), items);
    const archive = source(`docker-archive:${file}`);
    const { manifest } = await archive.resolve(undefined);
    for (const [at, layer] of manifest.layers.entries()) {
      assert.equal(layer.mediaType, "application/vnd.docker.image.rootfs.diff.tar.gzip");
      assert.equal(layer.digest, `sha256:${hex(blobs[at]!)}`);
    }
    const made = await createIndex({ source: archive, store: bench.store, minLayerSizeBytes: 0 });
    assert.equal(made.layers.filter(({ ztoc }) => ztoc !== undefined).length, 2);
  });

  it("does not believe a config that names other content", async () => {
    await using bench = await openBench();
    const [large, small] = await layers();
    const items = savedItems([{ id: "a", tar: large, blob: small }]);
    const file = await writeTar(join(bench.directory, "a.tar"), items);
    const creating = createIndex({
      source: source(`docker-archive:${file}`),
      store: bench.store,
      minLayerSizeBytes: 0,
    });
    await assert.rejects(creating, failure("data_loss", /digest/));
  });

  it("asks for a name where there are several images, and lists them", async () => {
    await using bench = await openBench();
    const [large, small] = await layers();
    const a = savedItems([{ id: "a", tar: large }], ["app:v1"]);
    const b = savedItems([{ id: "b", tar: small }], ["other:v2"]);
    const listed = [...a, ...b].filter(({ name }) => name === "manifest.json");
    const images = listed.flatMap(({ content }) => JSON.parse(String(content)) as object[]);
    const rest = [...a, ...b].filter(({ name }) => name !== "manifest.json");
    const file = await writeTar(join(bench.directory, "a.tar"), [
      ...rest,
      { name: "manifest.json", content: JSON.stringify(images) },
    ]);
    const several = source(`docker-archive:${file}`).resolve(undefined);
    await assert.rejects(several, failure("invalid_argument", /"app:v1", "other:v2"/));
    const absent = source(`docker-archive:${file}:app:v9`).resolve(undefined);
    await assert.rejects(absent, failure("not_found", /"app:v1", "other:v2"/));
    const read = await readLayers(source(`docker-archive:${file}:other:v2`));
    assert.deepEqual(read, [Buffer.from(small)]);
  });
});

describe("archiveFileImageSource(), of what is no such archive", () => {
  it("says what it is and what to do", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const [tar] = await layers();
    const oci = await buildTar(await layoutItems(image));
    const docker = await buildTar(savedItems([{ id: "a", tar }]));
    const cases: readonly [string, "oci" | "docker", Uint8Array, RegExp][] = [
      ["gzip", "oci", gzipSync(oci), /compressed with gzip.*`gzip -dc FILE \| soci create -`/],
      ["zstd", "oci", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1), /`zstd -dc FILE/],
      ["docker as oci", "oci", docker, /want it given as docker-archive:FILE/],
      ["oci as docker", "docker", oci, /want it given as oci-archive:FILE/],
      ["a layer", "docker", tar, /holds neither/],
      ["nothing", "oci", new Uint8Array(), /holds neither/],
      [
        "before manifest.json",
        "docker",
        await buildTar([{ name: "repositories", content: "{}" }]),
        /before 1.10/,
      ],
    ];
    const file = join(bench.directory, "a.tar");
    for (const [name, kind, bytes, message] of cases) {
      await writeFile(file, bytes);
      const resolving = source(`${kind}-archive:${file}`).resolve(undefined);
      await assert.rejects(resolving, failure("invalid_argument", message), name);
    }
  });

  it("refuses hostile and broken tars", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const items = await layoutItems(image);
    const whole = await buildTar(items);
    const named = (name: string): Promise<Uint8Array> => buildTar([...items, { name }]);
    const huge = await headerOf("x", 2 ** 41);
    const one = await buildTar([{ name: "x" }]);
    const many = Buffer.alloc(512 * 100_001, one.subarray(0, 512));
    const cases: readonly [string, Uint8Array, "data_loss" | "resource_exhausted", RegExp][] = [
      ["up", await named("../x"), "data_loss", /"\.\.\/x" leads out of the archive/],
      ["up from inside", await named("a/../../x"), "data_loss", /leads out/],
      ["absolute", await named("/etc/passwd"), "data_loss", /leads out/],
      ["cut in a header", whole.subarray(0, 100), "data_loss", /ends inside a header/],
      ["cut in a file", whole.subarray(0, 5_000), "data_loss", /bytes are missing/],
      ["no tar", Buffer.alloc(2048, "x"), "data_loss", /Cannot read tar/],
      ["a huge entry", huge, "resource_exhausted", /2199023255552 bytes, want at most/],
      ["many entries", many, "resource_exhausted", /100001 entries or more, want at most 100000/],
    ];
    const file = join(bench.directory, "a.tar");
    for (const [name, bytes, code, message] of cases) {
      await writeFile(file, bytes);
      const resolving = source(`oci-archive:${file}`).resolve(undefined);
      await assert.rejects(resolving, failure(code, message), name);
    }
  });

  it("refuses a file that was changed meanwhile, a fifo, and one that is not there", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const file = await writeTar(join(bench.directory, "a.tar"), await layoutItems(image));
    const archive = source(`oci-archive:${file}`);
    const { manifest } = await archive.resolve(undefined);
    await appendFile(file, "x");
    const blob = archive.openBlob(manifest.layers[0]!);
    await assert.rejects(blob.readAt(0, 1), failure("aborted", /changed meanwhile/));
    const fifo = join(bench.directory, "fifo");
    await command("mkfifo", [fifo]);
    await assert.rejects(
      source(`oci-archive:${fifo}`).resolve(undefined),
      failure("invalid_argument", /not a regular file.*"-"/),
    );
    await assert.rejects(
      source(`oci-archive:${file}x`).resolve(undefined),
      failure("not_found", /does not exist/),
    );
  });

  it("can be tried again after a failure, and stops when it is aborted", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const file = join(bench.directory, "a.tar");
    const archive = source(`oci-archive:${file}`);
    await assert.rejects(archive.resolve(undefined), failure("not_found", /does not exist/));
    await writeTar(file, await layoutItems(image));
    const { manifestDescriptor } = await archive.resolve(undefined);
    assert.equal(manifestDescriptor.digest, image.manifest.digest);
    const aborted = source(`oci-archive:${file}`).resolve(undefined, {
      signal: AbortSignal.abort(),
    });
    await assert.rejects(aborted);
  });
});
