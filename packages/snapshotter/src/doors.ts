import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
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
import { mount, probeKernel, unmount } from "@soci-ts/linux";
import type { Store } from "@soci-ts/store";
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

/** The answer of a trial, in `door.json`. It counts for one boot of one kernel. */
interface TrialAnswer {
  readonly formatVersion: 1;
  readonly bootId: string;
  readonly works: boolean;
  readonly reason: string;
}

const ANSWER_FILE = "door.json";

/**
 * Chooses the door. `auto` is `erofs` if this kernel is known to do it right *and* a trial works: a tiny image mounted as a real one is,
 * an overlay over its overlay, and a read through both. The trial takes a quarter of a second, once per boot: a caller that has other things to wait
 * for may call this beside them, {@link mountImage} then finds the answer.
 * @throws AppError `failed_precondition` if `erofs` was asked for and can't be had.
 */
export async function chooseDoor(
  wanted: Door | "auto",
  options: ChooseDoorOptions,
): Promise<DoorChoice> {
  if (wanted === "fuse") return { door: "fuse", reason: "it was asked for" };
  const { ffi, erofs, erofsFileBacked } = probeKernel();
  const obstacle = [ffi, erofs].find(({ state }) => state !== "ok");
  const isForced = wanted === "erofs";
  const missing = obstacle ?? (erofsFileBacked.support === "no" ? erofsFileBacked : undefined);
  if (missing !== undefined) return refuse(isForced, `${missing.found}; ${missing.fix}`);
  if (isForced) return { door: "erofs", reason: "it was asked for" };
  if (erofsFileBacked.support === "unsafe") return refuse(false, erofsFileBacked.found);
  const { works, reason } = await tryOncePerBoot(options);
  return works ? { door: "erofs", reason } : refuse(false, reason);
}

function refuse(isForced: boolean, reason: string): DoorChoice {
  if (!isForced) return { door: "fuse", reason };
  throw new AppError("failed_precondition", `Cannot mount through EROFS: ${reason}`);
}

async function tryOncePerBoot(options: ChooseDoorOptions): Promise<TrialAnswer> {
  const path = join(await options.store.directory("mounts"), ANSWER_FILE);
  const bootId = readBootId();
  const known = await readAnswer(path);
  if (known?.bootId === bootId) return known;
  const answer: TrialAnswer = { formatVersion: 1, bootId, ...(await tryErofs(options)) };
  await replaceFile(path, JSON.stringify(answer), { flush: false });
  return answer;
}

async function readAnswer(path: string): Promise<TrialAnswer | undefined> {
  try {
    const answer = JSON.parse(await readFile(path, "utf8")) as TrialAnswer;
    return answer.formatVersion === 1 ? answer : undefined;
  } catch {
    return undefined; // none yet, or damaged: the trial is cheap
  }
}

async function tryErofs(
  options: ChooseDoorOptions,
): Promise<Pick<TrialAnswer, "works" | "reason">> {
  try {
    await runTrial(options);
    return { works: true, reason: "a trial of EROFS over FUSE under two overlays worked" };
  } catch (error) {
    const { message } = AppError.from(error);
    options.logger?.warn("trial of the door erofs failed", { error: message });
    return { works: false, reason: `a trial of EROFS over FUSE failed: ${message}` };
  }
}

const TRIAL_FILE = "trial";

/** Makes, looks into and takes away the mount of an image with one file. This process serves nothing, so it may look. */
async function runTrial(options: ChooseDoorOptions): Promise<void> {
  await using undo = new DisposeStack();
  const content = Buffer.from(Array.from({ length: 300 }, (_, at) => `line ${at}\n`).join(""));
  const { server, logger = silentLogger, runtimeRoot = DEFAULT_RUNTIME_ROOT } = options;
  const mounts = await options.store.directory("mounts");
  const { directory, record } = await createMountDirectory(mounts, (id) =>
    trialRecord(join(runtimeRoot, id), { id, content }),
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
  { id, content }: { readonly id: string; readonly content: Uint8Array },
): MountRecord {
  return {
    formatVersion: MOUNT_RECORD_VERSION,
    id,
    phase: "starting",
    target: join(runtimeDirectory, "t"),
    reference: "trial of the door erofs",
    manifestDigest: sha256(content),
    door: "erofs",
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
