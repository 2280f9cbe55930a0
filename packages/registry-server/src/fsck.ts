import { join } from "node:path";
import { AppError, DisposeStack } from "@soci-ts/core";
import { type Database, openDatabase } from "@soci-ts/sqlite";
import { Inventory } from "./catalogue/inventory.ts";
import { CATALOGUE, openCatalogueReadOnly } from "./catalogue/open-read-only.ts";
import { MIGRATIONS } from "./catalogue/schema.ts";
import { checkBlobs } from "./fsck-blobs.ts";
import { checkLeftovers } from "./fsck-leftovers.ts";
import { checkManifests } from "./fsck-manifests.ts";
import { Findings, type FsckFinding } from "./fsck-room.ts";
import { lockRoot } from "./root-lock.ts";

/** How a root is checked. */
export interface FsckOptions {
  /** Remove leftovers, and write down again what is derived from manifests; wants the root to be in use by nobody. */
  readonly repair?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was looked at, and what was found. */
export interface FsckReport {
  /** `online`: a service has the root open, or its lock can't be taken. Leftovers are not looked for then: they may be work under way. */
  readonly mode: "offline" | "online";
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  readonly blobs: number;
  readonly blobBytes: number;
  /** The first findings of each severity; {@link FsckReport.faults} counts all. */
  readonly findings: readonly FsckFinding[];
  /** Faults that are there still: something was lost or is wrong. */
  readonly faults: number;
  /** Files and rows that are nothing, and were left. */
  readonly leftovers: number;
  /** What manifests name and their repository does not have: a client deleted it, or a sparse image was pushed. */
  readonly notes: number;
  readonly repaired: number;
}

/**
 * Checks everything below a root: the catalogue, every blob's file byte by byte, every manifest against its digest and against what the catalogue says of
 * it, and what nothing names. Reads all of it, with bounded memory. Beside a running service a finding counts only if the row that it is about is still
 * there afterwards. Without `repair` nothing is written.
 * @throws AppError `not_found` if there is no registry, `unavailable` for a repair while another process has it open, `cancelled` on abort.
 */
export async function checkRegistry(root: string, options: FsckOptions = {}): Promise<FsckReport> {
  await using resources = new DisposeStack();
  const { database } = resources.use(await openCatalogueReadOnly(root));
  const isOnline = !tryLock(root, resources, options.repair === true);
  const mode = isOnline ? "online" : "offline";
  const findings = new Findings();
  const inventory = new Inventory(database);
  for (const message of damageOf(inventory)) {
    findings.add({ severity: "fault", kind: "catalogue", about: CATALOGUE, message });
  }
  // What a damaged catalogue says is not worth checking, and even reading it may fail.
  if (findings.count("fault") > 0) return { mode, ...NOTHING, ...findings.report() };
  const repair = options.repair === true ? openToRepair(root, resources) : undefined;
  const room = { root, inventory, findings, isOnline, repair, signal: options.signal };
  const blobs = await checkBlobs(room);
  const manifests = checkManifests(room);
  if (!isOnline) await checkLeftovers(room);
  return { mode, ...inventory.totals(), ...blobs, manifests, ...findings.report() };
}

const NOTHING = { repositories: 0, tags: 0, manifests: 0, blobs: 0, blobBytes: 0 };

function damageOf(inventory: Inventory): string[] {
  try {
    return inventory.damage();
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code === "data_loss") return [message];
    throw error;
  }
}

const NO_LOCK: readonly string[] = ["unavailable", "permission_denied", "resource_exhausted"];

/** False if another process has the root, or it can't be written to. */
function tryLock(root: string, resources: DisposeStack, isNeeded: boolean): boolean {
  try {
    const lock = lockRoot(root, 0);
    resources.defer(() => lock.close());
    return true;
  } catch (error) {
    if (isNeeded) throw error;
    const { code } = AppError.from(error);
    // Locked by a service, on a read-only file system, or on a full one.
    if (!NO_LOCK.includes(code)) throw error;
    return false;
  }
}

function openToRepair(root: string, resources: DisposeStack): Database {
  const database = openDatabase(join(root, CATALOGUE), { migrations: MIGRATIONS });
  resources.defer(() => database.close());
  return database;
}
