import type { protobufApi, Sendable, snapshotsApi, typesApi } from "@soci-ts/containerd-api";
import { AppError } from "@soci-ts/core";
import type { Mount, SnapshotInfo, SnapshotKind, UpdateMask } from "@soci-ts/snapshotter";

const KIND_TO_PROTO: Readonly<Record<SnapshotKind, snapshotsApi.Kind>> = {
  view: "VIEW",
  active: "ACTIVE",
  committed: "COMMITTED",
};
const LABELS_PREFIX = "labels.";

/** A snapshot as containerd has it. */
export function infoToProto(info: SnapshotInfo): Sendable<snapshotsApi.Info> {
  return {
    name: info.name,
    parent: info.parent,
    kind: KIND_TO_PROTO[info.kind],
    createdAt: timestampToProto(info.createdAt),
    updatedAt: timestampToProto(info.updatedAt),
    labels: info.labels,
  };
}

/** A mount as containerd has it. */
export function mountToProto(mount: Mount): Sendable<typesApi.Mount> {
  return { type: mount.type, source: mount.source, options: mount.options };
}

/** A time, exact to the millisecond; times before 1970 count backwards with nanoseconds forwards, as protobuf wants it. */
export function timestampToProto(time: Date): protobufApi.Timestamp {
  const seconds = Math.floor(time.getTime() / 1000);
  return { seconds, nanos: (time.getTime() - seconds * 1000) * 1_000_000 };
}

/**
 * Which labels an Update sets. Keys of labels hold dots and slashes, so everything after the first dot is the key. No mask, an empty
 * one, and `labels` anywhere in it mean all.
 * @throws AppError `invalid_argument` for what is not a label: nothing else of a snapshot changes.
 */
export function protoToUpdateMask(mask: protobufApi.FieldMask | null): UpdateMask {
  const keys: string[] = [];
  let isAll = mask === null || mask.paths.length === 0;
  for (const path of mask?.paths ?? []) {
    if (path === "labels") isAll = true;
    else if (path.startsWith(LABELS_PREFIX) && path.length > LABELS_PREFIX.length) {
      keys.push(path.slice(LABELS_PREFIX.length));
    } else {
      throw new AppError(
        "invalid_argument",
        `Cannot update field ${JSON.stringify(path.slice(0, 100))} of a snapshot: want "labels" or "labels.KEY"`,
      );
    }
  }
  return isAll ? { kind: "all" } : { kind: "labels", keys };
}
