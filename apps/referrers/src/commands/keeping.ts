import { resolve } from "node:path";
import {
  type BackupReport,
  backUpRegistry,
  checkRegistry,
  type FsckReport,
  openRegistryServer,
  restoreRegistry,
} from "@soci-ts/registry-server";
import { gcPolicy } from "../gc-policy.ts";
import type { Report, Session } from "../session.ts";

/** `fsck`: what is wrong below the root. */
export async function fsck(session: Session, repair: boolean): Promise<Report> {
  const { root } = session.config();
  const found = await checkRegistry(root, { repair, signal: session.signal });
  return { json: { root, ...found }, text: fsckText(root, found), isFailed: found.faults > 0 };
}

function fsckText(root: string, found: FsckReport): string {
  const lines = found.findings.map(
    ({ severity, about, message, isRepaired }) =>
      `${isRepaired ? "repaired" : severity}: ${about}: ${message}`,
  );
  const { mode, blobs, blobBytes, manifests, tags, repositories } = found;
  return [
    ...lines,
    `${root}, checked ${mode}: ${repositories} repositories, ${tags} tags, ${manifests} manifests, ${blobs} blobs of ${blobBytes} bytes`,
    `${found.faults} faults, ${found.leftovers} leftovers, ${found.notes} notes, ${found.repaired} repaired`,
  ].join("\n");
}

/** `backup`: the root as it is now, in another folder. */
export async function backup(session: Session, folder: string): Promise<Report> {
  const { root } = session.config();
  const destination = resolve(folder);
  const made = await backUpRegistry(root, destination, { signal: session.signal });
  return copyReport(`${root} is in ${destination}`, made);
}

/** `restore`: a backup as a new root. */
export async function restore(session: Session, folder: string): Promise<Report> {
  const { root } = session.config();
  const source = resolve(folder);
  const made = await restoreRegistry(source, root, { signal: session.signal });
  return copyReport(`${source} is in ${root}`, made);
}

function copyReport(what: string, made: BackupReport): Report {
  const { blobs, linked, copied, copiedBytes, removed, damaged } = made;
  const counts = `${blobs} blobs, new: ${linked} linked, ${copied} copied (${copiedBytes} bytes); ${removed} removed`;
  const lines = damaged.map((digest) => `lost or damaged, left out: ${digest}`);
  return {
    json: made,
    text: [...lines, `${what}: ${counts}`].join("\n"),
    isFailed: damaged.length > 0,
  };
}

/** `gc`: what nothing needs any more goes. */
export async function gc(session: Session): Promise<Report> {
  const config = session.config();
  await using registry = await openRegistryServer(config.root, {
    gc: { policy: gcPolicy(config), intervalMs: 0 },
  });
  const done = await registry.collectGarbage();
  const { blobs, freedBytes, manifests, referrers } = done;
  const text = `removed ${blobs} blobs (${freedBytes} bytes), ${manifests} untagged manifests, ${referrers} referrers without a subject`;
  return { json: done, text };
}
