import { AppError } from "@soci-ts/core";
import type { Owner } from "./directories.ts";
import type { IdMapping, Labels } from "./types.ts";

const UID_LABEL = "containerd.io/snapshot/uidmapping";
const GID_LABEL = "containerd.io/snapshot/gidmapping";

/** The kernel takes at most this many lines, and ids below 2^32 - 1. */
const MAX_LINES = 340;
const MAX_ID = 0xffff_fffe;

/** The owners that a snapshot is to be seen with. */
export interface MappedOwners {
  readonly mapping: IdMapping;
  /** What root inside is outside. */
  readonly root: Owner;
}

/**
 * The id mapping that labels ask for, `undefined` if they ask for none.
 * @throws AppError `invalid_argument` if one of the two is missing, is not in the form `container:host:length`, or has no root.
 */
export function mappedOwnersOf(labels: Labels): MappedOwners | undefined {
  const uids = labels[UID_LABEL];
  const gids = labels[GID_LABEL];
  if (!uids && !gids) return undefined;
  if (!uids || !gids) throw invalid(uids ? GID_LABEL : UID_LABEL, "it is missing");
  return {
    mapping: { uids, gids },
    root: { uid: rootOf(UID_LABEL, uids), gid: rootOf(GID_LABEL, gids) },
  };
}

function rootOf(label: string, text: string): number {
  const lines = text.split(/[\n,]/);
  if (lines.length > MAX_LINES) throw invalid(label, `it has ${lines.length} lines`);
  const roots = lines.flatMap((line) => {
    const [, ...digits] = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(line) ?? [];
    const [container, host, length] = digits.map(Number);
    if (container === undefined || host === undefined || length === undefined || length === 0) {
      throw invalid(label, `a line is ${JSON.stringify(line)}`);
    }
    if (Math.max(container, host) + length - 1 > MAX_ID) throw invalid(label, "an id is too large");
    return container === 0 ? host : [];
  });
  const [root] = roots;
  if (root === undefined) throw invalid(label, "it has no id for root");
  return root;
}

function invalid(label: string, state: string): AppError {
  const message = `Cannot use label "${label}": ${state}, want container:host:length, 1 to ${MAX_LINES} of them, one with container 0`;
  return new AppError("invalid_argument", message);
}
