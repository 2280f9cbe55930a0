import type { Digest } from "@soci-ts/core";
import { type Platform, parsePlatform } from "@soci-ts/oci";
import { type PushedIndex, pushIndex } from "@soci-ts/soci";
import { formatBytes, type Report, renderFacts } from "../output.ts";
import type { Session } from "../wire.ts";
import { registryReference } from "./registry-reference.ts";
import { resolveDigest } from "./resolve-digest.ts";

/** Options of `soci push`. */
export interface PushOptions {
  readonly platform?: string;
  readonly index?: string;
}

/** `soci push REF`: puts an index of the store beside its image in the registry. */
export async function push(session: Session, name: string, options: PushOptions): Promise<Report> {
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const indexDigest =
    options.index === undefined ? undefined : await findIndexDigest(session, options.index);
  const pushed = await pushImageIndex(session, name, { platform, indexDigest });
  return { json: pushJson(pushed), text: pushText(pushed) };
}

/** Pushes with progress; shared by `soci push` and `soci create --push`. */
export async function pushImageIndex(
  session: Session,
  name: string,
  which: { readonly platform: Platform | undefined; readonly indexDigest: Digest | undefined },
): Promise<PushedIndex> {
  const reference = registryReference("push to", name);
  return pushIndex({
    ...which,
    reference,
    client: await session.client(),
    store: await session.store(),
    signal: session.signal,
    onProgress: ({ descriptor, sent }) =>
      session.progress
        .start(`blob ${descriptor.digest.slice(0, 19)}`, descriptor.size)
        .finish(sent ? "sent" : "there already"),
  });
}

/** What a push did, for `--json`. */
export function pushJson(pushed: PushedIndex): Record<string, unknown> {
  return {
    index: pushed.indexDigest,
    reference: pushed.reference,
    manifest: pushed.manifestDigest,
    found: pushed.found,
    blobsSent: pushed.blobsSent,
    bytesSent: pushed.bytesSent,
  };
}

/** What a push did, for people. */
export function pushText(pushed: PushedIndex): string {
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
