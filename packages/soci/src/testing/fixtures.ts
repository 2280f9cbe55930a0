import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AppError, DisposeStack, type ErrorCode } from "@soci-ts/core";
import { parseReference, type Reference } from "@soci-ts/oci";
import { openStore, type Store } from "@soci-ts/store";
import {
  type BuiltImage,
  buildTar,
  gzipLayer,
  readLayoutBlob,
  seededBytes,
  type TarItem,
  writeLayout,
} from "@soci-ts/testkit";
import { MemoryRegistry } from "./memory-registry.ts";

/** A folder, a store in it, and a registry in memory; all gone when disposed. */
export interface Bench extends AsyncDisposable {
  readonly directory: string;
  readonly store: Store;
  readonly registry: MemoryRegistry;
  readonly reference: Reference;
}

/** Makes a {@link Bench}. */
export async function openBench(): Promise<Bench> {
  const stack = new DisposeStack();
  const directory = await mkdtemp(join(tmpdir(), "soci-index-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const store = stack.use(await openStore(join(directory, "store")));
  return {
    directory,
    store,
    registry: new MemoryRegistry(),
    reference: parseReference("registry.test/app:v1"),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

/** Items of a layer with one file of `sizeBytes`. */
export function fileItems(name: string, sizeBytes: number, seed = 1): TarItem[] {
  return [
    { name: "etc/", type: "directory" },
    { name, content: seededBytes(sizeBytes, seed) },
  ];
}

/** An image with two gzip layers, of about 300 kB and 3 kB, as an OCI layout. */
export async function twoLayerLayout(directory: string): Promise<BuiltImage> {
  const layers = [
    gzipLayer(await buildTar(fileItems("etc/large", 600_000, 1))),
    gzipLayer(await buildTar(fileItems("etc/small", 6_000, 2))),
  ];
  return writeLayout(directory, layers);
}

/** Copies a layout's image into the registry, tagged `v1`. */
export async function loadRegistry(registry: MemoryRegistry, image: BuiltImage): Promise<void> {
  for (const { digest } of [...image.layers, image.config]) {
    registry.putBlob(await readLayoutBlob(image.directory, digest));
  }
  const bytes = await readLayoutBlob(image.directory, image.manifest.digest);
  registry.putManifest(bytes, image.manifest.mediaType, "v1");
}

/** For `assert.rejects` and `assert.throws`: an AppError with this code, and a message that matches. */
export function failure(code: ErrorCode, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code);
    return true;
  };
}
