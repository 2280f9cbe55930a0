import { mkdir } from "node:fs/promises";
import { AppError, DisposeStack, type Logger, silentLogger, silentMetrics } from "@soci-ts/core";
import { RegistryError } from "@soci-ts/registry-client";
import type { RegistryFacts } from "../access/facts.ts";
import type { RegistryHandler } from "../access/guard.ts";
import {
  emptyResponse,
  jsonResponse,
  type RegistryRequest,
  type RegistryResponse,
  splitTarget,
} from "../http.ts";
import { parseRoute, type Route, shown } from "../route.ts";
import { errorAnswer, errorResponse, SpecError } from "../spec-error.ts";
import { ArtifactPushes } from "./artifact-pushes.ts";
import { BlobReads } from "./blob-reads.ts";
import { Cache } from "./cache.ts";
import { DEFAULT_PATIENCE_MS } from "./limits.ts";
import { LocalRegistry } from "./local.ts";
import { ManifestReads } from "./manifest-reads.ts";
import { MergedReferrers } from "./merged-referrers.ts";
import type { CompanionOptions } from "./options.ts";
import { Passes } from "./passes.ts";
import { discard, relayed, silenceAsUndefined, unreachable, withWarning } from "./relay.ts";
import { Transfers } from "./transfers.ts";
import { UploadSessions } from "./upload-sessions.ts";
import { Upstream } from "./upstream.ts";
import { isRead, rawRequest, type Visit, visitOf } from "./visit.ts";

interface Parts {
  readonly local: LocalRegistry;
  readonly cache: Cache;
  readonly passes: Passes;
  readonly blobs: BlobReads;
  readonly manifests: ManifestReads;
  readonly referrers: MergedReferrers;
  readonly artifacts: ArtifactPushes;
  readonly uploads: UploadSessions;
}

/**
 * The distribution API before other registries: everything passes through to them, what they cannot hold is kept in our own
 * registry, and what was read of them is cached and shared.
 *
 * A request names its upstream by the parameter `ns`, as containerd's do with a mirror; without it the first one is meant. No other
 * host is ever reached, but where these lead: content and logins at public addresses, and hosts that are trusted.
 */
export class Companion implements AsyncDisposable {
  readonly #upstreams: readonly Upstream[];
  readonly #parts: Parts;
  readonly #logger: Logger;
  readonly #resources: DisposeStack;

  /** @internal Use {@link openCompanion}. */
  constructor(
    upstreams: readonly Upstream[],
    parts: Parts,
    resources: DisposeStack,
    logger: Logger,
  ) {
    this.#upstreams = upstreams;
    this.#parts = parts;
    this.#resources = resources;
    this.#logger = logger;
  }

  /** Answers one request. Never throws, as {@link RegistryServer.handle}. */
  async handle(request: RegistryRequest): Promise<RegistryResponse> {
    const response = await this.#answer(request);
    if (request.method !== "HEAD" || response.body === undefined) return response;
    discard(response);
    return { status: response.status, headers: response.headers };
  }

  /** Bytes of the disk that the cache takes, with what is on its way. */
  get cacheBytes(): number {
    return this.#parts.cache.usedBytes;
  }

  /** The facts of our own registry by the names that clients use; what several upstreams call alike counts together. */
  facts(registry: RegistryFacts): RegistryFacts {
    const rooms = this.#upstreams.map(({ room }) => room);
    return {
      usedBytes: async (repository) => {
        const all = rooms.map((room) => registry.usedBytes(`${room}/${repository}`));
        return (await Promise.all(all)).reduce((sum, bytes) => sum + bytes, 0);
      },
      blobSize: (digest) => registry.blobSize(digest),
      holders: (digest, limit) =>
        registry.holders(digest, limit).map((name) => name.slice(name.indexOf("/") + 1)),
    };
  }

  /** Gives transfers up and closes the cache; idempotent. No request may be under way. */
  async close(): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #answer(request: RegistryRequest): Promise<RegistryResponse> {
    let visit: Visit | undefined;
    try {
      const { path, query } = splitTarget(request.url);
      const route = parseRoute(path);
      const upstream = this.#upstream(query.get("ns"));
      visit = visitOf(request, upstream, route.kind === "base" ? "" : route.repository);
      return await this.#dispatch(visit, route);
    } catch (error) {
      const failure = AppError.from(error);
      if (failure instanceof SpecError) return errorResponse(failure);
      if (visit === undefined) return errorResponse(failure);
      const { code, message: reason } = failure;
      if (code !== "unavailable") {
        this.#logger.error("request failed", { method: request.method, code, reason });
      }
      return failureOf(visit, failure);
    }
  }

  #upstream(name: string | null): Upstream {
    const [first] = this.#upstreams;
    const found = name === null ? first : this.#upstreams.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new SpecError("NAME_UNKNOWN", `Cannot ask ${shown(name ?? "")}: it is no upstream`);
  }

  #dispatch(visit: Visit, route: Route): Promise<RegistryResponse> {
    const { blobs, manifests, referrers, artifacts, uploads } = this.#parts;
    const { method } = visit.request;
    switch (route.kind) {
      case "base":
        return this.#base(visit);
      case "blob":
        return isRead(visit)
          ? blobs.handle(visit, route.digest)
          : this.#change(visit, `blobs/${route.digest}`);
      case "uploads":
        return uploads.begin(visit);
      case "upload":
        return uploads.proceed(visit, route.id);
      case "manifest": {
        if (isRead(visit)) return manifests.handle(visit, route.reference);
        if (method === "PUT") return artifacts.handle(visit);
        return this.#change(visit, visit.target.slice(`/v2/${route.repository}/`.length));
      }
      case "tags":
        return this.#tags(visit);
      case "referrers":
        return referrers.handle(visit, route.subject);
    }
  }

  /** Whether we are a registry, and how to log in: the upstream says, where logins are its business. */
  async #base(visit: Visit): Promise<RegistryResponse> {
    const own = jsonResponse(200, {}, { "Docker-Distribution-API-Version": "registry/2.0" });
    const { upstream } = visit;
    if (!upstream.passesLogin || upstream.isResting) return own;
    const answer = await upstream.ask(rawRequest(visit)).catch(silenceAsUndefined);
    return answer === undefined ? own : relayed(visit, answer);
  }

  /** Deletes at the upstream and here; other methods are the upstream's to refuse. */
  async #change(visit: Visit, path: string): Promise<RegistryResponse> {
    const { local, cache } = this.#parts;
    const answer = await visit.upstream.ask(rawRequest(visit));
    const isRefused = answer.status === 401 || answer.status === 403 || answer.status === 429;
    if (visit.request.method !== "DELETE" || isRefused) return relayed(visit, answer);
    const [kind = "", name = ""] = path.split("/");
    const isHere = await local.has(visit, path);
    if (isHere) discard(await local.ask(visit, { method: "DELETE", path }));
    const isGone = answer.status === 202 || answer.status === 200 || answer.status === 204;
    if (isGone || answer.status === 404) forget(cache, visit, kind, decodeURIComponent(name));
    if (isGone || !isHere) return relayed(visit, answer);
    answer.close();
    return emptyResponse(202);
  }

  /** The upstream's tags; those of ours where it has no such repository or cannot be asked. */
  async #tags(visit: Visit): Promise<RegistryResponse> {
    const { local, passes } = this.#parts;
    const answer = await visit.upstream.ask(rawRequest(visit)).catch(silenceAsUndefined);
    if (answer !== undefined) passes.note(visit, answer.status);
    if (answer !== undefined && answer.status !== 404) return relayed(visit, answer);
    const own = await local.handle(visit);
    if (answer !== undefined) {
      if (own.status !== 200) return relayed(visit, answer);
      answer.close();
      return own;
    }
    if (own.status !== 200 || !passes.isHeld(visit)) return unreachable(visit);
    return withWarning(
      own,
      `Upstream ${visit.upstream.name} cannot be asked: its tags are missing`,
    );
  }
}

/** What a client is told when there is no answer of the upstream that it could be given. */
function failureOf(visit: Visit, failure: AppError): RegistryResponse {
  const { name } = visit.upstream;
  const refuse = (status: number, code: string, message: string): RegistryResponse =>
    errorAnswer(status, { code, message });
  if (failure instanceof RegistryError) {
    return refuse(403, "DENIED", `The upstream registry ${name} does not let us in`);
  }
  const { code } = failure;
  if (code === "unavailable") return unreachable(visit);
  if (code === "data_loss") {
    return refuse(502, "UNKNOWN", `The upstream registry ${name} sent wrong content`);
  }
  if (code === "failed_precondition" || code === "permission_denied") {
    return refuse(502, "UNKNOWN", `The upstream registry ${name} leads where nothing is sent`);
  }
  return errorResponse(failure);
}

/** What was deleted through us must not come back from the cache. */
function forget({ records }: Cache, visit: Visit, kind: string, name: string): void {
  const route = parseRoute(`/v2/x/${kind}/${name}`);
  if (route.kind === "blob") records.unlink(visit, route.digest);
  if (route.kind !== "manifest") return;
  const { reference } = route;
  if (reference.kind === "digest") records.unlink(visit, reference.digest);
  if (reference.kind === "tag") records.deleteTag(visit, reference.tag);
}

/**
 * Opens a companion.
 * @param directory - of its cache, which it has for itself.
 * @param registry - keeps what upstreams do not; the caller closes it afterwards.
 * @throws AppError `invalid_argument` if there is no upstream, or two have the same name; as the cache's database.
 */
export async function openCompanion(
  directory: string,
  registry: RegistryHandler,
  options: CompanionOptions,
): Promise<Companion> {
  const { logger = silentLogger, metrics = silentMetrics } = options;
  const patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
  const deps = { logger, metrics, patienceMs };
  await using resources = new DisposeStack();
  await mkdir(directory, { recursive: true });
  const cache = resources.use(
    await Cache.open(directory, { limitBytes: options.cacheBytes, ...deps }),
  );
  const transfers = resources.use(new Transfers(cache, logger));
  // Closed before the transfers, which would wait for what they send.
  const upstreams = options.upstreams.map((each) => resources.use(new Upstream(each, deps)));
  const rooms = new Set(upstreams.map(({ room }) => room));
  if (upstreams.length === 0 || rooms.size < upstreams.length) {
    throw new AppError(
      "invalid_argument",
      "Cannot open companion: want upstreams of different names",
    );
  }
  const local = new LocalRegistry(registry);
  const passes = new Passes(cache.records, patienceMs);
  const reads = { local, cache, passes, transfers };
  const parts = {
    ...{ local, cache, passes },
    blobs: new BlobReads(reads),
    manifests: new ManifestReads(reads, patienceMs),
    referrers: new MergedReferrers(reads, patienceMs),
    artifacts: new ArtifactPushes(reads, logger),
    uploads: new UploadSessions(reads),
  };
  return new Companion(upstreams, parts, resources.move(), logger);
}
