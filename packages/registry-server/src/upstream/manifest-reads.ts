import {
  AppError,
  type Digest,
  DigestMismatchError,
  digestAlgorithm,
  digestOf,
  isDigest,
  SingleFlight,
} from "@soci-ts/core";
import { MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import type { RawAnswer } from "@soci-ts/registry-client";
import {
  bytesResponse,
  emptyResponse,
  headerOf,
  type RegistryResponse,
  verdictOf,
} from "../http.ts";
import type { ManifestReference } from "../route.ts";
import { preconditionFailed } from "../spec-error.ts";
import type { ReadDeps } from "./blob-reads.ts";
import { keepManifest } from "./keep-manifest.ts";
import type { KnownTag } from "./records.ts";
import {
  again,
  discard,
  type HeldAnswer,
  held,
  isTrouble,
  readLimited,
  relayed,
  retold,
  silenceAsUndefined,
  unreachable,
  withWarning,
} from "./relay.ts";
import { rawRequest, unconditional, type Visit, visitorOf } from "./visit.ts";

/** A manifest that an upstream has just given, or an answer that is passed on as it is. */
type Fetched =
  | { readonly kind: "found"; readonly digest: Digest }
  | { readonly kind: "uncached"; readonly answer: HeldAnswer; readonly digest: Digest }
  | { readonly kind: "passed on"; readonly answer: HeldAnswer };

const SIGNED_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/**
 * Reads manifests. By digest they come from here whenever they are here. A tag is asked of the upstream each time (HEAD); where
 * the upstream is in trouble, what the tag pointed at before is given with a warning.
 */
export class ManifestReads {
  readonly #deps: ReadDeps;
  readonly #patienceMs: number;
  readonly #fetches = new SingleFlight<Fetched>();
  readonly #lookUps = new SingleFlight<RawAnswer>();

  constructor(deps: ReadDeps, patienceMs: number) {
    this.#deps = deps;
    this.#patienceMs = patienceMs;
  }

  /** Answers GET and HEAD of `/v2/<name>/manifests/<reference>`. */
  async handle(visit: Visit, reference: ManifestReference): Promise<RegistryResponse> {
    if (reference.kind === "digest") return this.#byDigest(visit, reference.digest);
    if (reference.kind === "tag") return this.#byTag(visit, reference.tag);
    return relayed(visit, await visit.upstream.ask(rawRequest(visit)));
  }

  async #byDigest(visit: Visit, digest: Digest): Promise<RegistryResponse> {
    const { local, passes, cache } = this.#deps;
    if (await local.has(visit, `manifests/${digest}`)) {
      return (await passes.refusal(visit)) ?? local.handle(visit);
    }
    if (cache.find(digest)?.mediaType !== undefined) {
      const answer = (await passes.refusal(visit, digest)) ?? (await this.#cached(visit, digest));
      if (answer !== undefined) return answer;
    }
    return this.#fetched(visit, digest);
  }

  async #byTag(visit: Visit, tag: string): Promise<RegistryResponse> {
    const { cache } = this.#deps;
    const { records } = cache;
    const known = records.tag(visit, tag);
    const isHere = known !== undefined && cache.find(known.digest)?.mediaType !== undefined;
    if (!isHere) return this.#local(visit, tag, () => this.#fetched(visit, undefined, tag));
    if (visit.upstream.isResting) return this.#stale(visit, known);
    const answer = await this.#lookUp(visit).catch(() => undefined);
    if (answer === undefined || isTrouble(answer.status)) return this.#stale(visit, known);
    this.#deps.passes.note(visit, answer.status);
    const told = answer.headers["docker-content-digest"] ?? "";
    if (answer.status === 200 && isDigest(told) && cache.find(told)?.mediaType !== undefined) {
      records.link(visit, told);
      records.setTag(visit, tag, told);
      return (await this.#cached(visit, told)) ?? this.#fetched(visit, undefined, tag);
    }
    if (answer.status === 200) return this.#fetched(visit, undefined, tag);
    if (answer.status === 404) {
      records.deleteTag(visit, tag);
      return this.#local(visit, tag, async () => retold(visit, answer));
    }
    return retold(visit, answer);
  }

  /** What a tag points at now, asked once for clients that ask together. */
  #lookUp(visit: Visit): Promise<RawAnswer> {
    const headers = unconditional(rawRequest(visit).headers);
    const request = rawRequest(visit, { method: "HEAD", headers });
    const ask = (): Promise<RawAnswer> => visit.upstream.ask(request, this.#patienceMs);
    return this.#lookUps.do(keyOf(visit), ask);
  }

  /** What a tag was when it was asked last. */
  async #stale(visit: Visit, { digest, checked_ms }: KnownTag): Promise<RegistryResponse> {
    const isAllowed = this.#deps.passes.isHeld(visit);
    const answer = isAllowed ? await this.#cached(visit, digest) : undefined;
    if (answer === undefined) return unreachable(visit);
    const when = new Date(checked_ms).toISOString();
    const text = `Upstream ${visit.upstream.name} cannot be asked: this is what the tag was at ${when}`;
    return withWarning(answer, text);
  }

  /** The upstream's answer, or what was pushed here under the tag if the upstream has none. */
  async #local(
    visit: Visit,
    tag: string,
    ask: () => Promise<RegistryResponse>,
  ): Promise<RegistryResponse> {
    const answer = await ask();
    const { local, passes } = this.#deps;
    const isMissing = answer.status === 404 || (answer.status === 503 && passes.isHeld(visit));
    if (!isMissing || !(await local.has(visit, `manifests/${tag}`))) return answer;
    discard(answer);
    return local.handle(visit);
  }

  async #cached(visit: Visit, digest: Digest): Promise<RegistryResponse | undefined> {
    const { cache } = this.#deps;
    const { request } = visit;
    const entry = cache.find(digest);
    if (entry?.mediaType === undefined) return undefined;
    const headers = { "Docker-Content-Digest": digest, ETag: `"${digest}"` };
    const verdict = verdictOf(request, headers.ETag);
    if (verdict === "failed") throw preconditionFailed(headers.ETag);
    if (verdict === "not modified") return { status: 304, headers };
    const described = { "Content-Type": entry.mediaType, ...headers };
    if (request.method === "HEAD") {
      return emptyResponse(200, { ...described, "Content-Length": String(entry.sizeBytes) });
    }
    const bytes = await cache.read(digest);
    return bytes && bytesResponse(200, bytes, described);
  }

  /** Asks the upstream. */
  async #fetched(
    visit: Visit,
    digest: Digest | undefined,
    tag?: string,
  ): Promise<RegistryResponse> {
    if (visit.request.method === "HEAD") return this.#head(visit, tag);
    const found = await this.#fetches.do(keyOf(visit), () => this.#fetch(visit, digest, tag));
    if (found.kind === "passed on") return again(found.answer);
    const answer = await this.#cached(visit, found.digest);
    if (answer !== undefined) return answer;
    if (found.kind === "uncached") return again(found.answer);
    // Evicted in this very moment.
    return relayed(visit, await visit.upstream.ask(rawRequest(visit)));
  }

  /** Many clients look a tag up so, and then fetch by digest: what it points at is to be known when the upstream is down. */
  async #head(visit: Visit, tag: string | undefined): Promise<RegistryResponse> {
    const { passes, cache } = this.#deps;
    const answer = await visit.upstream.ask(rawRequest(visit)).catch(silenceAsUndefined);
    if (answer === undefined) return unreachable(visit);
    passes.note(visit, answer.status);
    const told = answer.headers["docker-content-digest"] ?? "";
    const isFound = answer.status === 200 && isDigest(told);
    if (isFound && tag !== undefined) cache.records.setTag(visit, tag, told);
    return relayed(visit, answer);
  }

  async #fetch(visit: Visit, digest: Digest | undefined, tag?: string): Promise<Fetched> {
    const headers = unconditional(rawRequest(visit).headers);
    const answer = await visit.upstream.ask(rawRequest(visit, { headers }));
    const { cache, passes } = this.#deps;
    passes.note(visit, answer.status);
    if (answer.status !== 200) return { kind: "passed on", answer: await held(answer) };
    const mediaType = answer.headers["content-type"] ?? "application/octet-stream";
    // Its digest leaves its signatures out: nobody but its reader can check it.
    if (mediaType.startsWith(SIGNED_SCHEMA_1))
      return { kind: "passed on", answer: await held(answer) };
    const { bytes, digest: actual } = await verified(answer, digest);
    const isKept = await keepManifest(cache, actual, bytes, mediaType);
    if (!isKept) {
      const told = { "Content-Type": mediaType, "Docker-Content-Digest": actual };
      return { kind: "uncached", digest: actual, answer: { status: 200, headers: told, bytes } };
    }
    cache.records.link(visit, actual);
    if (tag !== undefined) cache.records.setTag(visit, tag, actual);
    return { kind: "found", digest: actual };
  }
}

/** Requests that the upstream answers alike. */
function keyOf(visit: Visit): string {
  const accept = headerOf(visit.request, "accept") ?? "";
  return [visit.upstream.name, visit.target, visitorOf(visit), accept].join("\n");
}

/** @throws DigestMismatchError if it is not what was asked for, or what the upstream says. */
async function verified(
  answer: RawAnswer,
  wanted: Digest | undefined,
): Promise<{ bytes: Uint8Array; digest: Digest }> {
  const bytes = await readLimited(answer, MANIFEST_LIMIT_BYTES);
  if (bytes === undefined) {
    const want = `want at most ${MANIFEST_LIMIT_BYTES} bytes`;
    throw new AppError("resource_exhausted", `Cannot pass manifest on: it is too large, ${want}`);
  }
  const told = answer.headers["docker-content-digest"] ?? "";
  const expected = wanted ?? (isDigest(told) ? told : undefined);
  const algorithm = expected === undefined ? "sha256" : digestAlgorithm(expected);
  const digest = digestOf(bytes, algorithm);
  if (expected === undefined || digest === expected) return { bytes, digest };
  throw new DigestMismatchError("manifest of an upstream", expected, digest);
}
