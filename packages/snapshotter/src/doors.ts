import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import {
  AppError,
  type ByteString,
  byteStringFromText,
  DisposeStack,
  type Logger,
  sha256,
  silentLogger,
} from "@soci-ts/core";
import { type ErofsDirectory, encodeErofs } from "@soci-ts/erofs";
import { type KernelProbe, mount, type ProbeFinding, probeKernel, unmount } from "@soci-ts/linux";
import type { Store } from "@soci-ts/store";
import type { ErofsDoor } from "./erofs-mount.ts";
import { sealImage } from "./metadata-images.ts";
import { createMountDirectory, removeMountDirectory, replaceFile } from "./mount-directories.ts";
import { type Door, MOUNT_RECORD_VERSION, type MountRecord } from "./mount-record.ts";
import { makeDirectory, mountLayers, mountOverlay, mountSource } from "./mount-stack.ts";
import { ownIdentity, readBootId } from "./process-identity.ts";
import type { ServerCommand } from "./server-process.ts";

/** A door and why. */
export interface DoorChoice {
  readonly door: Door;
  /** One sentence for people. */
  readonly reason: string;
}

/** What choosing needs. */
export interface ChooseDoorOptions {
  /** The answer of the trial is kept in it. */
  readonly store: Pick<Store, "directory">;
  /** Default {@link DEFAULT_RUNTIME_ROOT}. */
  readonly runtimeRoot?: string | undefined;
  readonly server: ServerCommand;
  readonly logger?: Logger | undefined;
}

/** Where runtime directories lie: a tmpfs, so nothing of them is left after a boot. Short, since mount options must fit one page. */
export const DEFAULT_RUNTIME_ROOT = "/run/soci-ts";

/** What trials of one boot of one kernel answered, in `door.json`. */
interface TrialAnswers {
  readonly formatVersion: 2;
  readonly bootId: string;
  readonly release: string;
  readonly trials: { readonly [door in ErofsDoor]?: TrialAnswer };
}

/** Whether a door opened, and one sentence about it. */
export interface TrialAnswer {
  readonly works: boolean;
  readonly reason: string;
}

const ANSWER_FILE = "door.json";

/**
 * Chooses the door. `auto` is the first of `erofs`, `loop`, `fuse` that this kernel is known to do right *and* whose trial works: a tiny image
 * mounted as a real one is, an overlay over its overlay, and a read through both. A trial takes a quarter of a second, once per boot: a caller
 * that has other things to wait for may call this beside them, {@link mountImage} then finds the answer.
 * @throws AppError `failed_precondition` if a door was asked for that can't be had.
 */
export async function chooseDoor(
  wanted: Door | "auto",
  options: ChooseDoorOptions,
): Promise<DoorChoice> {
  return await decideDoor(wanted, probeKernel(), (door) => tryOncePerBoot(door, options));
}

/** The decision of {@link chooseDoor}, given what the kernel can do and something that tries. */
export async function decideDoor(
  wanted: Door | "auto",
  probe: DoorProbe,
  tryDoor: (door: ErofsDoor) => Promise<TrialAnswer>,
): Promise<DoorChoice> {
  if (wanted === "fuse") return { door: "fuse", reason: "it was asked for" };
  if (wanted !== "auto") {
    const obstacle = obstacleTo(wanted, probe);
    if (obstacle === undefined) return { door: wanted, reason: "it was asked for" };
    const message = `Cannot mount through the door ${wanted}: ${obstacle.found}; ${obstacle.fix}`;
    throw new AppError("failed_precondition", message);
  }
  const refusals: string[] = [];
  for (const door of ["erofs", "loop"] as const) {
    const { works, reason } = await judgeDoor(door, probe, tryDoor);
    if (works) return { door, reason: [...refusals, reason].join("; ") };
    refusals.push(`not ${door}: ${reason}`);
  }
  return { door: "fuse", reason: refusals.join("; ") };
}

type DoorProbe = Pick<KernelProbe, "ffi" | "erofs" | "erofsFileBacked" | "erofsOnLoop">;

async function judgeDoor(
  door: ErofsDoor,
  probe: DoorProbe,
  tryDoor: (door: ErofsDoor) => Promise<TrialAnswer>,
): Promise<TrialAnswer> {
  const obstacle = obstacleTo(door, probe);
  if (obstacle !== undefined) {
    return { works: false, reason: `${obstacle.found} (${obstacle.fix})` };
  }
  const { support, found } = probe.erofsFileBacked;
  if (door === "erofs" && support === "unsafe") return { works: false, reason: found };
  return await tryDoor(door);
}

/** What makes a door impossible here, known without a trial. */
function obstacleTo(door: ErofsDoor, probe: DoorProbe): ProbeFinding | undefined {
  const { ffi, erofs, erofsFileBacked, erofsOnLoop } = probe;
  if (door === "loop") return [erofs, erofsOnLoop].find(({ state }) => state !== "ok");
  const missing = [ffi, erofs].find(({ state }) => state !== "ok");
  return missing ?? (erofsFileBacked.support === "no" ? erofsFileBacked : undefined);
}

async function tryOncePerBoot(door: ErofsDoor, options: ChooseDoorOptions): Promise<TrialAnswer> {
  const path = join(await options.store.directory("mounts"), ANSWER_FILE);
  const own = { bootId: readBootId(), release: release() };
  const known = await readAnswers(path);
  const trials = known?.bootId === own.bootId && known.release === own.release ? known.trials : {};
  if (trials[door] !== undefined) return trials[door];
  const answer = await tryDoor(door, options);
  const answers: TrialAnswers = { formatVersion: 2, ...own, trials: { ...trials, [door]: answer } };
  await replaceFile(path, JSON.stringify(answers), { flush: false });
  return answer;
}

async function readAnswers(path: string): Promise<TrialAnswers | undefined> {
  try {
    const answers = JSON.parse(await readFile(path, "utf8")) as TrialAnswers;
    return answers.formatVersion === 2 ? answers : undefined;
  } catch {
    return undefined; // none yet, or damaged: the trial is cheap
  }
}

const TRIED: Readonly<Record<ErofsDoor, string>> = {
  erofs: "EROFS over FUSE",
  loop: "EROFS on loop devices over FUSE",
};

async function tryDoor(door: ErofsDoor, options: ChooseDoorOptions): Promise<TrialAnswer> {
  try {
    await runTrial(door, options);
    return { works: true, reason: `a trial of ${TRIED[door]} under two overlays worked` };
  } catch (error) {
    const { message } = AppError.from(error);
    options.logger?.warn(`trial of the door ${door} failed`, { error: message });
    return { works: false, reason: `a trial of ${TRIED[door]} failed: ${message}` };
  }
}

const TRIAL_FILE = "trial";

/** Makes, looks into and takes away the mount of an image with one file. This process serves nothing, so it may look. */
async function runTrial(door: ErofsDoor, options: ChooseDoorOptions): Promise<void> {
  await using undo = new DisposeStack();
  const content = Buffer.from(Array.from({ length: 300 }, (_, at) => `line ${at}\n`).join(""));
  const { server, logger = silentLogger, runtimeRoot = DEFAULT_RUNTIME_ROOT } = options;
  const mounts = await options.store.directory("mounts");
  const { directory, record } = await createMountDirectory(mounts, (id) =>
    trialRecord(join(runtimeRoot, id), { id, door, content }),
  );
  undo.defer(() => removeMountDirectory(directory));
  const image = sealImage(trialImage(content.length));
  await replaceFile(join(directory, "data"), content, { flush: false });
  await replaceFile(join(directory, "image"), image, { flush: false });
  await mountLayers({ record, directory, server, logger }, undo);
  await makeDirectory(record.target, undo);
  await mountOverlay(record, undo);
  const nested = join(record.runtimeDirectory, "n");
  const empty = join(record.runtimeDirectory, "e");
  await makeDirectory(nested, undo);
  await makeDirectory(empty, undo);
  const data = `lowerdir=${record.target}:${empty}`;
  await mount({
    source: mountSource(record.id),
    target: nested,
    type: "overlay",
    flags: ["ro"],
    data,
  });
  undo.defer(() => unmount(nested, { detach: true }));
  const read = await readFile(join(nested, TRIAL_FILE));
  if (!read.equals(content)) throw new AppError("data_loss", "what was read is not what was there");
}

function trialRecord(
  runtimeDirectory: string,
  parts: { readonly id: string; readonly door: ErofsDoor; readonly content: Uint8Array },
): MountRecord {
  const { id, door, content } = parts;
  return {
    formatVersion: MOUNT_RECORD_VERSION,
    id,
    phase: "starting",
    target: join(runtimeDirectory, "t"),
    reference: `trial of the door ${door}`,
    manifestDigest: sha256(content),
    door,
    createdAt: new Date().toISOString(),
    runtimeDirectory,
    layersDirectory: runtimeDirectory,
    parent: ownIdentity(),
    source: null,
    slots: [
      {
        layerDigest: sha256(content),
        data: { kind: "file", path: "data" },
        imagePath: "image",
        deviceSlots: [0],
      },
    ],
    stack: [0],
  };
}

function trialImage(sizeBytes: number): Uint8Array {
  const attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 };
  const xattrs = new Map<ByteString, ByteString>();
  const root: ErofsDirectory = { kind: "dir", ...attributes, xattrs, children: new Map() };
  const name = byteStringFromText(TRIAL_FILE);
  const file = { kind: "reg", ...attributes, xattrs, sizeBytes, device: 0, dataOffset: 0 } as const;
  root.children.set(name, file);
  const uuid = createHash("sha256").update(TRIAL_FILE).digest().subarray(0, 16);
  return encodeErofs(root, { devices: [{ sizeBytes }], uuid });
}
