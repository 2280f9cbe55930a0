import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  type Digest,
  DisposeStack,
  type Logger,
  sha256,
  silentLogger,
} from "@soci-ts/core";
import { MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import { type Database, openDatabase } from "@soci-ts/sqlite";
import { type RegistryFacts, registryFacts } from "./access/facts.ts";
import { BlobFiles } from "./blob-files.ts";
import { handleBlob } from "./blob-handlers.ts";
import { BlobTable } from "./catalogue/blobs.ts";
import { GarbageTable } from "./catalogue/garbage.ts";
import { Listings } from "./catalogue/listings.ts";
import { ManifestTable } from "./catalogue/manifests.ts";
import { CATALOGUE, openCatalogueReadOnly } from "./catalogue/open-read-only.ts";
import { RepositoryTable } from "./catalogue/repositories.ts";
import { MIGRATIONS } from "./catalogue/schema.ts";
import { UsageTable } from "./catalogue/usage.ts";
import { Collector, type CollectorOptions } from "./collector.ts";
import type { Call, Context } from "./context.ts";
import type { GarbagePolicy, GarbageReport } from "./gc.ts";
import { jsonResponse, type RegistryRequest, type RegistryResponse, splitTarget } from "./http.ts";
import { MAX_REFERRERS_PER_PAGE } from "./limits.ts";
import { handleReferrers, handleTags } from "./listing-handlers.ts";
import { handleManifest } from "./manifest-handlers.ts";
import { Reserve } from "./reserve.ts";
import { lockRoot } from "./root-lock.ts";
import { parseRoute, type Route } from "./route.ts";
import { errorResponse, methodNotAllowed, SpecError } from "./spec-error.ts";
import { handleUpload, handleUploads } from "./upload-handlers.ts";
import { Uploads } from "./uploads.ts";

const EMPTY_DIGEST: Digest = sha256(new Uint8Array());
const SWEEP_INTERVAL_MS = 60 * 60 * 1000;

/** How a registry is opened. */
export interface RegistryServerOptions {
  readonly logger?: Logger;
  /** Manifests are taken also if the repository lacks what they refer to, as when only one platform of an index is mirrored; default false. */
  readonly allowsSparse?: boolean;
  /** Most bytes of a manifest; at most 4 MiB, the default. */
  readonly manifestLimitBytes?: number;
  /** Most descriptors in one answer of the referrers API; default 250. */
  readonly referrersPerPage?: number;
  /** Pushes and deletes are refused, nothing below the root is written, and it need not be writable; others may have it open. */
  readonly isReadOnly?: boolean;
  /** When what is garbage is removed; default: when {@link RegistryServer.collectGarbage} is called, by {@link DEFAULT_POLICY}. */
  readonly gc?: CollectorOptions;
}

/** Blobs that nothing refers to go after 24 h, referrers 30 days after their subject was removed, untagged manifests never. */
export const DEFAULT_POLICY: GarbagePolicy = {
  graceMs: 24 * 60 * 60 * 1000,
  orphanKeepMs: 30 * 24 * 60 * 60 * 1000,
};

/**
 * The server side of the distribution API, without a web server: give it requests, send its responses.
 *
 * Everything it keeps is below one root: `catalogue.sqlite` (what exists), `blobs/` (bytes by digest), `uploads/` (bytes that
 * are no blobs yet). The catalogue decides: a blob exists from the commit of its row on, and that comes after its file was
 * verified and synced. {@link openRegistryServer} removes what a crash left between the two.
 */
export class RegistryServer implements AsyncDisposable {
  readonly #context: Context;
  readonly #collector: Collector | undefined;
  readonly #resources: DisposeStack;

  /** @internal Use {@link openRegistryServer}. */
  constructor(context: Context, collector: Collector | undefined, resources: DisposeStack) {
    this.#context = context;
    this.#collector = collector;
    this.#resources = resources;
  }

  /**
   * Answers one request. Never throws: failures are answers with the specification's error body, and ours are logged.
   * A response with an open file is the caller's to send and close.
   */
  async handle(request: RegistryRequest): Promise<RegistryResponse> {
    const response = await this.#answer(request);
    if (request.method !== "HEAD" || response.body === undefined) return response;
    return { status: response.status, headers: response.headers };
  }

  /** What access control asks about. */
  get facts(): RegistryFacts {
    return registryFacts(this.#context);
  }

  /**
   * Collects garbage while requests go on; one collection at a time.
   * @throws AppError `failed_precondition` in read-only mode; as the catalogue does.
   */
  async collectGarbage(): Promise<GarbageReport> {
    if (this.#collector !== undefined) return this.#collector.collect();
    throw new AppError("failed_precondition", "Cannot collect garbage: the registry is read-only");
  }

  /**
   * Looks whether requests can be answered: the catalogue can be read, and the folder of the blobs is there (it may be a mount that went away).
   * @throws AppError that says what is wrong.
   */
  async probe(): Promise<void> {
    this.#context.blobs.find("", EMPTY_DIGEST);
    await this.#context.files.probe();
  }

  /** Closes the catalogue; idempotent. No request may be under way. */
  async close(): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #answer(request: RegistryRequest): Promise<RegistryResponse> {
    try {
      const { path, query } = splitTarget(request.url);
      const answer = () => dispatch({ context: this.#context, request, query }, path);
      return await (request.method === "DELETE" ? this.#context.reserve.spend(answer) : answer());
    } catch (error) {
      const failure = AppError.from(error);
      const response = errorResponse(failure);
      if (response.status >= 500) {
        const { method } = request;
        this.#context.logger.error("request failed", {
          method,
          code: failure.code,
          reason: failure.message,
        });
      }
      return response;
    }
  }
}

/**
 * Opens the registry below `root`, which is made if need be, and cleans up what a crash left.
 * @throws AppError `unavailable` if another process has it open; as {@link openDatabase}.
 */
export async function openRegistryServer(
  root: string,
  options: RegistryServerOptions = {},
): Promise<RegistryServer> {
  const logger = options.logger ?? silentLogger;
  await using resources = new DisposeStack();
  const isReadOnly = options.isReadOnly ?? false;
  const reserve = new Reserve(root);
  const database = await (isReadOnly
    ? openToRead(root, resources)
    : reserve.spend(() => open(root, resources, logger)));
  const repositories = new RepositoryTable(database);
  const blobs = new BlobTable(database, repositories);
  const context: Context = {
    blobs,
    manifests: new ManifestTable(database, repositories, blobs),
    listings: new Listings(database, repositories),
    garbage: new GarbageTable(database),
    usage: new UsageTable(database),
    files: await openFiles(root, isReadOnly),
    uploads: await openUploads(root, isReadOnly),
    reserve,
    logger,
    isReadOnly,
    allowsSparse: options.allowsSparse ?? false,
    manifestLimitBytes: Math.min(
      options.manifestLimitBytes ?? MANIFEST_LIMIT_BYTES,
      MANIFEST_LIMIT_BYTES,
    ),
    referrersPerPage: options.referrersPerPage ?? MAX_REFERRERS_PER_PAGE,
  };
  if (isReadOnly) {
    logger.info("registry opened to be read only", { root });
    return new RegistryServer(context, undefined, resources.move());
  }
  await cleanUp(context, root);
  await reserve.fill();
  const timer = setInterval(() => sweepUploads(context), SWEEP_INTERVAL_MS);
  timer.unref();
  resources.defer(() => clearInterval(timer));
  const gc = options.gc ?? { policy: DEFAULT_POLICY, intervalMs: 0 };
  const collector = resources.use(new Collector(context, gc, logger));
  return new RegistryServer(context, collector, resources.move());
}

async function open(root: string, above: DisposeStack, logger: Logger): Promise<Database> {
  await mkdir(root, { recursive: true });
  await using resources = new DisposeStack();
  const lock = lockRoot(root);
  resources.defer(() => lock.close());
  const database = openDatabase(join(root, CATALOGUE), { migrations: MIGRATIONS, logger });
  resources.defer(() => database.close());
  above.use(resources.move());
  return database;
}

async function openToRead(root: string, resources: DisposeStack): Promise<Database> {
  return resources.use(await openCatalogueReadOnly(root)).database;
}

async function openFiles(root: string, isReadOnly: boolean): Promise<BlobFiles> {
  const directory = join(root, "blobs");
  return isReadOnly ? BlobFiles.openReadOnly(directory) : BlobFiles.open(directory);
}

async function openUploads(root: string, isReadOnly: boolean): Promise<Uploads> {
  const directory = join(root, "uploads");
  return isReadOnly ? Uploads.openReadOnly(directory) : Uploads.open(directory);
}

/** Removes what a crash left. */
async function cleanUp({ files, blobs, uploads, logger }: Context, root: string): Promise<void> {
  const removedFiles = await files.sweep((digest) => blobs.exists(digest));
  const removedUploads = await uploads.sweep();
  logger.info("registry opened", { root, removedFiles, removedUploads });
}

function sweepUploads({ uploads, logger }: Context): void {
  uploads.sweep().catch((error: unknown) => {
    logger.warn("cannot drop old uploads", { reason: AppError.from(error).message });
  });
}

async function dispatch(call: Call, path: string): Promise<RegistryResponse> {
  const route = parseRoute(path);
  if (call.context.isReadOnly) refuseWrites(call, route);
  switch (route.kind) {
    case "base":
      return base(call.request.method);
    case "blob":
      return handleBlob(call, route);
    case "uploads":
      return handleUploads(call, route.repository);
    case "upload":
      return handleUpload(call, route);
    case "manifest":
      return handleManifest(call, route);
    case "tags":
      return handleTags(call, route.repository);
    case "referrers":
      return handleReferrers(call, route.repository, route.subject);
  }
}

/** Also what an upload has so far: there can be none. */
function refuseWrites({ request: { method } }: Call, { kind }: Route): void {
  const isRead = method === "GET" || method === "HEAD";
  if (isRead && kind !== "upload" && kind !== "uploads") return;
  const message = `Cannot ${method} this path: the registry is read-only, want GET or HEAD`;
  throw new SpecError("UNSUPPORTED", message, { headers: { Allow: "GET, HEAD" } });
}

function base(method: string): RegistryResponse {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, ["GET", "HEAD"]);
  return jsonResponse(200, {}, { "Docker-Distribution-API-Version": "registry/2.0" });
}
