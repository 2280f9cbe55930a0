import type { Digest } from "@soci-ts/core";
import type { Platform } from "@soci-ts/oci";
import {
  type ImageSource,
  type PushedIndex,
  type PushIndexOptions,
  pushIndex,
  registryImageSource,
} from "@soci-ts/soci";
import { formatBytes, type Report, renderFacts } from "../output.ts";
import type { Session } from "../wire.ts";
import { type PlatformOptions, type PlatformReport, reportPlatforms } from "./platform-choice.ts";
import { isInRegistry, registryReference } from "./registry-reference.ts";
import { resolveDigest } from "./resolve-digest.ts";

/** Options of `soci push`. */
export interface PushOptions extends PlatformOptions {
  readonly index?: string;
  readonly existingIndex: "warn" | "skip" | "allow";
  readonly maxConcurrentUploads: number;
  readonly quiet?: boolean;
}

/** `soci push REF`: puts an index of the store beside its image in the registry, for each platform asked for. */
export async function push(session: Session, name: string, options: PushOptions): Promise<Report> {
  const indexDigest =
    options.index === undefined ? undefined : await findIndexDigest(session, options.index);
  const source = await imageToPushTo(session, name);
  const isQuiet = options.quiet === true;
  const work = async (platform: Platform | undefined): Promise<PlatformReport> => {
    const pushed = await pushImageIndex(session, name, {
      platform,
      indexDigest,
      source,
      existing: options.existingIndex,
      uploadsAtOnce: options.maxConcurrentUploads,
      isQuiet,
    });
    return { json: pushJson(pushed), text: isQuiet ? pushed.indexDigest : pushText(pushed) };
  };
  return reportPlatforms(session, { source, options, separator: isQuiet ? "\n" : "\n\n", work });
}

/** The image as containerd has it, where an option says so; else as the registry has it. */
async function imageToPushTo(session: Session, name: string): Promise<ImageSource> {
  const reference = registryReference("push to", name);
  if (!isInRegistry(session.config, name)) return session.source(name);
  return registryImageSource(await session.client(), reference);
}

/** What to push, and how. */
export interface PushImageOptions
  extends Pick<PushIndexOptions, "source" | "existing" | "uploadsAtOnce"> {
  readonly platform: Platform | undefined;
  readonly indexDigest: Digest | undefined;
  readonly isQuiet?: boolean;
}

/** Pushes with progress; shared by `soci push` and `soci create --push`. */
export async function pushImageIndex(
  session: Session,
  name: string,
  { isQuiet = false, ...which }: PushImageOptions,
): Promise<PushedIndex> {
  const pushed = await pushIndex({
    ...which,
    reference: registryReference("push to", name),
    client: await session.client(),
    store: await session.store(),
    signal: session.signal,
    onProgress: ({ descriptor, sent }) => {
      if (isQuiet) return;
      session.progress
        .start(`blob ${descriptor.digest.slice(0, 19)}`, descriptor.size)
        .finish(sent ? "sent" : "there already");
    },
  });
  if (pushed.others.length > 0 && which.existing !== "allow") {
    const state = pushed.isSkipped ? "nothing was pushed" : "this one was pushed too";
    session.logger.warn(`the image has indexes in the registry already; ${state}`, {
      reference: pushed.reference,
      indexes: pushed.others.join(" "),
    });
  }
  return pushed;
}

/** What a push did, for `--json`. */
export function pushJson(pushed: PushedIndex): Record<string, unknown> {
  return {
    index: pushed.indexDigest,
    reference: pushed.reference,
    manifest: pushed.manifestDigest,
    found: pushed.found,
    others: pushed.others,
    skipped: pushed.isSkipped,
    blobsSent: pushed.blobsSent,
    bytesSent: pushed.bytesSent,
  };
}

/** What a push did, for people. */
export function pushText(pushed: PushedIndex): string {
  if (pushed.isSkipped) {
    return renderFacts([
      ["skipped", pushed.indexDigest],
      ["beside", `${pushed.reference} (manifest ${pushed.manifestDigest}, not altered)`],
      ["because", `it has ${pushed.others.join(", ")}`],
    ]);
  }
  const found =
    pushed.found === "referrers" ? "the referrers API" : "the referrers tag of the repository";
  return renderFacts([
    ["pushed", pushed.indexDigest],
    ["beside", `${pushed.reference} (manifest ${pushed.manifestDigest}, not altered)`],
    ["found by", found],
    ["sent", `${pushed.blobsSent} blobs, ${formatBytes(pushed.bytesSent)}`],
  ]);
}

async function findIndexDigest(session: Session, text: string): Promise<Digest> {
  const store = await session.store();
  const indexes = store.listIndexes();
  return resolveDigest(
    "index",
    text,
    indexes.map(({ digest }) => digest),
  );
}
