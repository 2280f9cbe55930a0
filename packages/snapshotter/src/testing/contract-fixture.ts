import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Digest, DisposeStack, sha256, silentLogger } from "@soci-ts/core";
import type { Database } from "@soci-ts/sqlite";
import { openMetastore } from "../contract/metastore-schema.ts";
import { openSnapshots, type Snapshots, type SnapshotsOptions } from "../contract/snapshots.ts";
import type { Labels } from "../contract/types.ts";
import { FakeIdMappedMounts, FakeLayers } from "./fake-layers.ts";

/** Snapshots over fakes, and what they stand on. */
export interface OpenedContract extends AsyncDisposable {
  readonly service: Snapshots;
  readonly layers: FakeLayers;
  readonly idMapped: FakeIdMappedMounts;
  readonly database: Database;
}

/** Opens snapshots at `root`, with what is there from before. */
export async function openContract(
  root: string,
  options: Partial<SnapshotsOptions> & { readonly isLenient?: boolean } = {},
): Promise<OpenedContract> {
  await using undo = new DisposeStack();
  const database = openMetastore(root);
  undo.defer(() => database.close());
  const layers = undo.use(new FakeLayers(join(root, "l"), options));
  const idMapped = new FakeIdMappedMounts();
  const service = await openSnapshots({
    root,
    database,
    layers,
    idMapped,
    userxattr: false,
    xino: true,
    logger: silentLogger,
    ...options,
  });
  undo.use(service);
  const stack = undo.move();
  const dispose = (): Promise<void> => stack[Symbol.asyncDispose]();
  return { service, layers, idMapped, database, [Symbol.asyncDispose]: dispose };
}

/** Labels of a Prepare for an image layer. */
export function imageLabels(
  chainId: string,
  layerDigest: Digest,
  image = "example/app:v1",
): Labels {
  return {
    "containerd.io/snapshot.ref": chainId,
    "containerd.io/snapshot/cri.image-ref": image,
    "containerd.io/snapshot/cri.layer-digest": layerDigest,
    "containerd.io/snapshot/cri.manifest-digest": digestOfText(image),
  };
}

/** A digest to name something by. */
export function digestOfText(text: string): Digest {
  return sha256(Buffer.from(text));
}

/** Makes an empty directory for a fake layer's content. */
export function contentDirectory(root: string, name: string): string {
  const directory = join(root, name);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  return directory;
}
