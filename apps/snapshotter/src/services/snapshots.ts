import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  type FailureListener,
  type Handlers,
  implementService,
  type Sendable,
  type snapshotsApi,
  snapshotsService,
} from "@soci-ts/containerd-api";
import { AppError } from "@soci-ts/core";
import type { SnapshotService } from "@soci-ts/snapshotter";
import { infoToProto, mountToProto, protoToUpdateMask } from "./convert.ts";
import { checkKey, checkLabels, checkParent, LIST_BATCH } from "./limits.ts";

/**
 * The snapshot contract as containerd's gRPC service, for `Server.addService(snapshotsService().definition, …)`. The name of the
 * snapshotter in a request is not looked at: containerd leaves it empty, or sends the name that its config gives this socket.
 * @param onFailure - told of each call that fails. `already_exists` of Prepare is containerd's word for a layer that is there.
 */
export function snapshotsHandlers(
  service: SnapshotService,
  onFailure?: FailureListener,
): UntypedServiceImplementation {
  return implementService(
    snapshotsService(),
    { ...creating(service), ...changing(service), ...looking(service) },
    onFailure,
  );
}

type SnapshotsHandlers = Handlers<snapshotsApi.Snapshots>;

function creating(
  service: SnapshotService,
): Pick<SnapshotsHandlers, "prepare" | "view" | "mounts"> {
  return {
    async prepare({ key, parent, labels }, { signal }) {
      checkNew(key, parent, labels);
      const outcome = await service.prepare(key, parent, labels, { signal });
      if (outcome.kind === "already-committed") {
        throw new AppError(
          "already_exists",
          `target snapshot ${JSON.stringify(outcome.name)}: already exists`,
        );
      }
      return { mounts: outcome.mounts.map(mountToProto) };
    },
    async view({ key, parent, labels }, { signal }) {
      checkNew(key, parent, labels);
      const mounts = await service.view(key, parent, labels, { signal });
      return { mounts: mounts.map(mountToProto) };
    },
    async mounts({ key }, { signal }) {
      checkKey("key", key);
      const mounts = await service.mounts(key, { signal });
      return { mounts: mounts.map(mountToProto) };
    },
  };
}

function changing(
  service: SnapshotService,
): Pick<SnapshotsHandlers, "commit" | "remove" | "update" | "cleanup"> {
  return {
    async commit({ name, key, labels }) {
      checkKey("name", name);
      checkKey("key", key);
      checkLabels(labels);
      await service.commit(name, key, labels);
      return {};
    },
    async remove({ key }) {
      checkKey("key", key);
      await service.remove(key);
      return {};
    },
    async update({ info, updateMask }) {
      if (info === null) {
        throw new AppError("invalid_argument", "Cannot update a snapshot: the request has no info");
      }
      checkKey("name", info.name);
      checkLabels(info.labels);
      const { name, labels } = info;
      const updated = await service.update({ name, labels }, protoToUpdateMask(updateMask));
      return { info: infoToProto(updated) };
    },
    async cleanup() {
      await service.cleanup();
      return {};
    },
  };
}

function looking(service: SnapshotService): Pick<SnapshotsHandlers, "stat" | "list" | "usage"> {
  return {
    async stat({ key }) {
      checkKey("key", key);
      return { info: infoToProto(await service.stat(key)) };
    },
    list: ({ filters }) => listBatches(service, filters),
    async usage({ key }, { signal }) {
      checkKey("key", key);
      const { sizeBytes, inodes } = await service.usage(key, { signal });
      return { size: sizeBytes, inodes };
    },
  };
}

async function* listBatches(
  service: SnapshotService,
  filters: readonly string[],
): AsyncIterable<Sendable<snapshotsApi.ListSnapshotsResponse>> {
  let batch: Sendable<snapshotsApi.Info>[] = [];
  for await (const info of service.list(filters)) {
    batch.push(infoToProto(info));
    if (batch.length < LIST_BATCH) continue;
    yield { info: batch };
    batch = [];
  }
  if (batch.length > 0) yield { info: batch };
}

function checkNew(key: string, parent: string, labels: Readonly<Record<string, string>>): void {
  checkKey("key", key);
  checkParent(parent);
  checkLabels(labels);
}
