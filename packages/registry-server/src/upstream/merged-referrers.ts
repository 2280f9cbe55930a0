import type { Digest } from "@soci-ts/core";
import { type Descriptor, MEDIA_TYPE_OCI_INDEX } from "@soci-ts/oci";
import { jsonResponse, type RegistryResponse } from "../http.ts";
import { MAX_REFERRERS_PER_PAGE } from "../limits.ts";
import { artifactTypeFilter, leadingPage } from "../referrers-page.ts";
import { methodNotAllowed, SpecError } from "../spec-error.ts";
import type { ReadDeps } from "./blob-reads.ts";
import { unreachable, withWarning } from "./relay.ts";
import { type UpstreamReferrers, upstreamReferrers } from "./upstream-referrers.ts";
import { isRead, type Visit } from "./visit.ts";

/** Where a page begins: at so many entries of the upstream's, or at our registry's own cursor. */
type Cursor =
  | { readonly kind: "upstream"; readonly index: number }
  | { readonly kind: "local"; readonly last: string };

/** What is to be listed. */
interface List {
  readonly visit: Visit;
  readonly subject: Digest;
  /** Those of the upstream. */
  readonly entries: readonly Descriptor[];
  /** Whether the client may see what is kept here. */
  readonly withOurs: boolean;
}

const SILENT: UpstreamReferrers = { kind: "silent" };

interface Page {
  readonly entries: readonly object[];
  readonly next: string | undefined;
}

/**
 * `/v2/<name>/referrers/<digest>` before an upstream: its own list, the tag in a list's stead, and what is kept here, each
 * manifest once. The upstream's come first; then follow those of our catalogue, page by page as it gives them. While the upstream
 * cannot be asked, what it listed last is given with a warning.
 */
export class MergedReferrers {
  readonly #deps: ReadDeps;
  readonly #patienceMs: number;

  constructor(deps: ReadDeps, patienceMs: number) {
    this.#deps = deps;
    this.#patienceMs = patienceMs;
  }

  async handle(visit: Visit, subject: Digest): Promise<RegistryResponse> {
    if (!isRead(visit)) throw methodNotAllowed(visit.request.method, ["GET", "HEAD"]);
    const cursor = cursorOf(visit);
    const { passes, cache } = this.#deps;
    const { upstream } = visit;
    const listed = upstream.isResting
      ? SILENT
      : await upstreamReferrers(visit, subject, this.#patienceMs);
    if (listed.kind === "refused") {
      passes.note(visit, listed.response.status);
      return listed.response;
    }
    if (listed.kind === "listed") {
      passes.note(visit, listed.status);
      cache.records.setReferrers(visit, subject, JSON.stringify(listed.entries));
      const withOurs = (await passes.refusal(visit)) === undefined;
      return this.#answer({ visit, subject, withOurs, entries: listed.entries }, cursor);
    }
    if (listed.status !== undefined) passes.note(visit, listed.status);
    if (!passes.isHeld(visit)) return unreachable(visit);
    const known = cache.records.referrers(visit, subject);
    const entries = known === undefined ? [] : (JSON.parse(known) as readonly Descriptor[]);
    const answer = await this.#answer({ visit, subject, withOurs: true, entries }, cursor);
    const text = known === undefined ? "its referrers are missing" : "its referrers may be old";
    return withWarning(answer, `Upstream ${upstream.name} cannot be asked: ${text}`);
  }

  async #answer(list: List, cursor: Cursor): Promise<RegistryResponse> {
    const { visit, subject } = list;
    const artifactType = artifactTypeFilter(visit.query);
    const page =
      cursor.kind === "local"
        ? await this.#localPage(list, cursor.last)
        : await this.#firstPages(list, cursor.index);
    const link = page.next === undefined ? {} : { Link: linkTo(visit, subject, page.next) };
    return jsonResponse(
      200,
      { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: page.entries },
      {
        "Content-Type": MEDIA_TYPE_OCI_INDEX,
        ...(artifactType !== undefined && { "OCI-Filters-Applied": "artifactType" }),
        ...link,
      },
    );
  }

  /** The upstream's entries that are wanted and that our catalogue does not list itself. */
  async #others({ visit, entries }: List): Promise<readonly Descriptor[]> {
    const artifactType = artifactTypeFilter(visit.query);
    const kept: Descriptor[] = [];
    for (const entry of entries) {
      if (artifactType !== undefined && entry.artifactType !== artifactType) continue;
      if (await this.#deps.local.has(visit, `manifests/${entry.digest}`)) continue;
      kept.push(entry);
    }
    return kept;
  }

  /** A page of the upstream's entries; on the last of them ours begin, if they fit. */
  async #firstPages(list: List, index: number): Promise<Page> {
    const rest = (await this.#others(list)).slice(index);
    const page = fitting(rest);
    if (page.length < rest.length) return { entries: page, next: `u${index + page.length}` };
    const local = await this.#localPage(list, "0");
    const all = [...page, ...local.entries];
    if (fitting(all).length === all.length) return { entries: all, next: local.next };
    return { entries: page, next: "0" };
  }

  async #localPage({ visit, subject, withOurs }: List, last: string): Promise<Page> {
    if (!withOurs) return { entries: [], next: undefined };
    const artifactType = artifactTypeFilter(visit.query);
    const query = new URLSearchParams({ ...(artifactType && { artifactType }), last });
    const path = `referrers/${subject}?${query.toString()}`;
    const { status, headers, body } = await this.#deps.local.ask(visit, { method: "GET", path });
    if (status !== 200 || body?.kind !== "bytes") return { entries: [], next: undefined };
    const document = JSON.parse(Buffer.from(body.bytes).toString()) as { manifests: object[] };
    const next = /[?&]last=(\d+)/.exec(headers["Link"] ?? "")?.[1];
    return { entries: document.manifests, next };
  }
}

function fitting<T extends object>(entries: readonly T[]): readonly T[] {
  return leadingPage(entries, MAX_REFERRERS_PER_PAGE, (entry) => JSON.stringify(entry));
}

function cursorOf({ query }: Visit): Cursor {
  const text = query.get("last") ?? "u0";
  const [, mark, number = ""] = /^(u?)(\d{1,15})$/.exec(text) ?? [];
  if (mark === "u") return { kind: "upstream", index: Number(number) };
  if (mark === "") return { kind: "local", last: number };
  throw new SpecError("UNSUPPORTED", "Cannot use that last: want what a Link gave", {
    status: 400,
  });
}

function linkTo(visit: Visit, subject: Digest, last: string): string {
  const artifactType = artifactTypeFilter(visit.query);
  const query = new URLSearchParams({
    ...(artifactType !== undefined && { artifactType }),
    last,
    ...(visit.ns !== null && { ns: visit.ns }),
  });
  return `</v2/${visit.repository}/referrers/${subject}?${query.toString()}>; rel="next"`;
}
