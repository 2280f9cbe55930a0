import { type Containerd, openContainerd } from "@soci-ts/containerd-api";
import { AppError, concatBytes, type Digest, parseDigest } from "@soci-ts/core";
import { IMAGE_CONFIG_LIMIT_BYTES, MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import type { RepairContainerd, RepairNamespace } from "./repair-containerd.ts";

/** Longest time that a Prepare may take: the daemon looks for an index, and may read a whole layer. */
const PREPARE_TIMEOUT_MS = 600_000;
const MAX_BLOB_BYTES = Math.max(MANIFEST_LIMIT_BYTES, IMAGE_CONFIG_LIMIT_BYTES);
/** A lease that a killed `repair` leaves behind ends by itself after this time. */
const LEASE_MS = 3_600_000;

/** containerd behind a socket, as `repair` needs it. Nothing is connected yet. */
export function openRepair(
  socketPath: string,
  snapshotter: string,
  signal: AbortSignal,
): RepairContainerd {
  // Namespaces are listed without being in one; the header is wanted all the same.
  const root = openContainerd(socketPath, { namespace: "default" });
  return {
    namespaces: async () => {
      const { namespaces } = await root.namespaces.list({}, { signal });
      return namespaces.map(({ name }) => name);
    },
    openNamespace: (namespace) => openNamespace(socketPath, namespace, snapshotter, signal),
    [Symbol.asyncDispose]: () => root[Symbol.asyncDispose](),
  };
}

async function openNamespace(
  socketPath: string,
  namespace: string,
  snapshotter: string,
  signal: AbortSignal,
): Promise<RepairNamespace> {
  const containerd = openContainerd(socketPath, { namespace });
  let leaseId: string | undefined;
  /** Made with the first change only: a look leaves no trace. */
  const leased = async () => {
    leaseId ??= await createLease(containerd, signal);
    return { signal, headers: { "containerd-lease": leaseId } };
  };
  return {
    images: async () => {
      const { images } = await containerd.images.list({}, { signal });
      return images.flatMap(({ name, target }) =>
        target === null
          ? []
          : [{ name, digest: parseDigest(target.digest), mediaType: target.mediaType }],
      );
    },
    containers: async () => (await containerd.containers.list({}, { signal })).containers,
    readBlob: (digest) => readBlob(containerd, digest, signal),
    blobLabels: async (digest) => {
      const { info } = (await ifFound(containerd.content.info({ digest }, { signal }))) ?? {};
      return info?.labels;
    },
    hasSnapshot: async (key) => {
      const found = await ifFound(containerd.snapshots.stat({ snapshotter, key }, { signal }));
      return found !== undefined;
    },
    prepareSnapshot: async (key, parent, labels) => {
      const options = { ...(await leased()), timeoutMs: PREPARE_TIMEOUT_MS };
      try {
        await containerd.snapshots.prepare({ snapshotter, key, parent, labels }, options);
        return "mounts";
      } catch (error) {
        if (AppError.from(error).code === "already_exists") return "already_exists";
        throw error;
      }
    },
    removeSnapshot: async (key) => {
      await containerd.snapshots.remove({ snapshotter, key }, await leased());
    },
    [Symbol.asyncDispose]: async () => {
      try {
        // Not under the caller's signal: an interrupt is no reason to leave it.
        if (leaseId !== undefined) await containerd.leases.delete({ id: leaseId });
      } finally {
        await containerd[Symbol.asyncDispose]();
      }
    },
  };
}

async function createLease(containerd: Containerd, signal: AbortSignal): Promise<string> {
  const expire = new Date(Date.now() + LEASE_MS).toISOString();
  const id = `soci-repair-${process.pid}-${Date.now()}`;
  await containerd.leases.create({ id, labels: { "containerd.io/gc.expire": expire } }, { signal });
  return id;
}

async function readBlob(
  containerd: Containerd,
  digest: Digest,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const { data } of containerd.content.read({ digest }, { signal })) {
    total += data.length;
    if (total > MAX_BLOB_BYTES) {
      throw new AppError(
        "resource_exhausted",
        `Cannot read ${digest}: it is longer than ${MAX_BLOB_BYTES} bytes`,
      );
    }
    pieces.push(data);
  }
  return concatBytes(pieces);
}

async function ifFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
}
