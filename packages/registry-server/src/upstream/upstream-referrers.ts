import { AppError, type Digest } from "@soci-ts/core";
import {
  type Descriptor,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  parseManifest,
} from "@soci-ts/oci";
import { type RawAnswer, referrersTag } from "@soci-ts/registry-client";
import type { RegistryResponse } from "../http.ts";
import {
  MAX_REFERRERS_PAGES,
  MAX_UPSTREAM_REFERRERS,
  MAX_UPSTREAM_REFERRERS_BYTES,
} from "./limits.ts";
import { isTrouble, nextPage, readLimited, relayed } from "./relay.ts";
import { pullRequest, type Visit } from "./visit.ts";

/** What an upstream says about the referrers of a manifest. */
export type UpstreamReferrers =
  /** All of them, unfiltered; those of the API first. */
  | {
      readonly kind: "listed";
      readonly entries: readonly Descriptor[];
      /** 200 if it has let the client read anything. */
      readonly status: number;
    }
  | { readonly kind: "refused"; readonly response: RegistryResponse }
  /** It cannot be asked, or answers (with this status) what is no list. */
  | { readonly kind: "silent"; readonly status?: number };

/** Asks the upstream's referrers API, and the tag that stands for it (distribution-spec v1.1.1 §Referrers Tag Schema): either may hold what the other does not. */
export async function upstreamReferrers(
  visit: Visit,
  subject: Digest,
  patienceMs: number,
): Promise<UpstreamReferrers> {
  const { repository } = visit;
  const ask = (path: string): Promise<RawAnswer | undefined> => askList(visit, path, patienceMs);
  const [api, tag] = await Promise.all([
    ask(`/v2/${repository}/referrers/${subject}`),
    ask(`/v2/${repository}/manifests/${referrersTag(subject)}`),
  ]);
  const answers = [api, tag].filter((answer) => answer !== undefined);
  const refusal = answers.find(({ status }) => status === 401 || status === 403);
  if (refusal !== undefined) {
    for (const answer of answers) if (answer !== refusal) answer.close();
    return { kind: "refused", response: relayed(visit, refusal) };
  }
  // 501 is said of the API by who does not have it.
  const isSilent = answers.some(({ status }) => isTrouble(status) && status !== 501);
  if (answers.length < 2 || isSilent) {
    for (const answer of answers) answer.close();
    return { kind: "silent" };
  }
  try {
    const lists = [await listed(visit, api, patienceMs), await listed(visit, tag, patienceMs)];
    const status = answers.some((answer) => answer.status === 200) ? 200 : 404;
    return { kind: "listed", entries: distinct(lists.flat()), status };
  } catch {
    // A list that breaks off, or is none: as good as no answer.
    return { kind: "silent", status: 200 };
  } finally {
    for (const answer of answers) answer.close();
  }
}

async function askList(
  visit: Visit,
  target: string,
  patienceMs: number,
): Promise<RawAnswer | undefined> {
  const accept = `${MEDIA_TYPE_OCI_INDEX}, ${MEDIA_TYPE_OCI_MANIFEST};q=0.5`;
  const request = pullRequest(visit, target, accept);
  // The upstream has logged why.
  return visit.upstream.ask(request, patienceMs).catch(() => undefined);
}

/** The entries of a list and of its next pages; none if the answer is no index, as where there is no such API. */
async function listed(
  visit: Visit,
  first: RawAnswer | undefined,
  patienceMs: number,
): Promise<readonly Descriptor[]> {
  const found: Descriptor[] = [];
  let answer = first;
  let leftBytes = MAX_UPSTREAM_REFERRERS_BYTES;
  for (let pages = 0; answer?.status === 200 && pages < MAX_REFERRERS_PAGES; pages++) {
    const isIndex = answer.headers["content-type"]?.startsWith(MEDIA_TYPE_OCI_INDEX) === true;
    if (!isIndex) return found;
    const bytes = await readLimited(answer, Math.min(MANIFEST_LIMIT_BYTES, leftBytes));
    if (bytes === undefined) throw tooMany();
    leftBytes -= bytes.length;
    const parsed = parseManifest(bytes, MEDIA_TYPE_OCI_INDEX);
    if (parsed.kind === "index") found.push(...parsed.index.manifests);
    if (found.length > MAX_UPSTREAM_REFERRERS) throw tooMany();
    const next = nextTarget(answer);
    if (next === undefined) return found;
    answer = await askList(visit, next, patienceMs);
    if (answer === undefined) throw new AppError("unavailable", "Cannot list referrers");
  }
  answer?.close();
  return found;
}

/** The next page, if it is of the same list at the same place. */
function nextTarget({ headers, url }: RawAnswer): string | undefined {
  const text = nextPage(headers["link"]);
  if (text === undefined || !URL.canParse(text, url.href)) return undefined;
  const next = new URL(text, url);
  const isSame = next.origin === url.origin && next.pathname === url.pathname;
  return isSame ? `${next.pathname}${next.search}` : undefined;
}

function distinct(entries: readonly Descriptor[]): readonly Descriptor[] {
  const byDigest = new Map<string, Descriptor>();
  for (const entry of entries) if (!byDigest.has(entry.digest)) byDigest.set(entry.digest, entry);
  return [...byDigest.values()];
}

function tooMany(): AppError {
  return new AppError(
    "resource_exhausted",
    `Cannot list referrers: there are too many, want at most ${MAX_UPSTREAM_REFERRERS}`,
  );
}
