import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, DisposeStack, type Logger, silentLogger } from "@soci-ts/core";
import { MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import { type Database, openDatabase } from "@soci-ts/sqlite";
import { type RegistryFacts, registryFacts } from "./access/facts.ts";
import { BlobFiles } from "./blob-files.ts";
import { handleBlob } from "./blob-handlers.ts";
import { BlobTable } from "./catalogue/blobs.ts";
import { Listings } from "./catalogue/listings.ts";
import { ManifestTable } from "./catalogue/manifests.ts";
import { RepositoryTable } from "./catalogue/repositories.ts";
import { MIGRATIONS } from "./catalogue/schema.ts";
import { UsageTable } from "./catalogue/usage.ts";
import type { Call, Context } from "./context.ts";
import { jsonResponse, type RegistryRequest, type RegistryResponse, splitTarget } from "./http.ts";
import { MAX_REFERRERS_PER_PAGE } from "./limits.ts";
import { handleReferrers, handleTags } from "./listing-handlers.ts";
import { handleManifest } from "./manifest-handlers.ts";
import { parseRoute } from "./route.ts";
import { errorResponse, methodNotAllowed } from "./spec-error.ts";
import { handleUpload, handleUploads } from "./upload-handlers.ts";
import { Uploads } from "./uploads.ts";

const SWEEP_INTERVAL_MS = 60 * 60 * 1000;

/** How a registry is opened. */
export interface RegistryServerOptions {
  readonly logger?: Logger;
  /** Most bytes of a manifest; at most 4 MiB, the default. */
  readonly manifestLimitBytes?: number;
  /** Most descriptors in one answer of the referrers API; default 1000. */
  readonly referrersPerPage?: number;
}

/**
 * The server side of the distribution API, without a web server: give it requests, send its responses.
 *
 * Everything it keeps is below one root: `catalogue.sqlite` (what exists), `blobs/` (bytes by digest), `uploads/` (bytes that
 * are no blobs yet). The catalogue decides: a blob exists from the commit of its row on, and that comes after its file was
 * verified and synced. {@link openRegistryServer} removes what a crash left between the two.
 */
export class RegistryServer implements AsyncDisposable {
  readonly #context: Context;
  readonly #resources: DisposeStack;

  /** @internal Use {@link openRegistryServer}. */
  constructor(context: Context, resources: DisposeStack) {
    this.#context = context;
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
      return await dispatch({ context: this.#context, request, query }, path);
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
  await mkdir(root, { recursive: true });
  await using resources = new DisposeStack();
  const lock = lockRoot(root);
  resources.defer(() => lock.close());
  const database = openDatabase(join(root, "catalogue.sqlite"), { migrations: MIGRATIONS, logger });
  resources.defer(() => database.close());
  const repositories = new RepositoryTable(database);
  const blobs = new BlobTable(database, repositories);
  const files = await BlobFiles.open(join(root, "blobs"));
  const uploads = await Uploads.open(join(root, "uploads"));
  const context: Context = {
    blobs,
    manifests: new ManifestTable(database, repositories, blobs),
    listings: new Listings(database, repositories),
    usage: new UsageTable(database),
    files,
    uploads,
    logger,
    manifestLimitBytes: Math.min(
      options.manifestLimitBytes ?? MANIFEST_LIMIT_BYTES,
      MANIFEST_LIMIT_BYTES,
    ),
    referrersPerPage: options.referrersPerPage ?? MAX_REFERRERS_PER_PAGE,
  };
  const removedFiles = await files.sweep((digest) => blobs.exists(digest));
  const removedUploads = await uploads.sweep();
  logger.info("registry opened", { root, removedFiles, removedUploads });
  const timer = setInterval(() => sweepUploads(context), SWEEP_INTERVAL_MS);
  timer.unref();
  resources.defer(() => clearInterval(timer));
  return new RegistryServer(context, resources.move());
}

/**
 * Two processes on one root would sweep each other's files. The lock is a write transaction on a database of its own that
 * is never ended: the system drops it however the process dies, and the catalogue stays readable for backups.
 */
function lockRoot(root: string): Database {
  const lock = openDatabase(join(root, "lock.sqlite"), { migrations: [] });
  try {
    // Long enough for a predecessor that is just closing.
    lock.prepare("PRAGMA busy_timeout = 2000").get();
    lock.prepare("BEGIN EXCLUSIVE").run();
    return lock;
  } catch (cause) {
    lock.close();
    throw inUse(root, cause);
  }
}

function inUse(root: string, cause: unknown): AppError {
  return new AppError(
    "unavailable",
    `Cannot open registry ${JSON.stringify(root)}: another process has it open`,
    { cause },
  );
}

function sweepUploads({ uploads, logger }: Context): void {
  uploads.sweep().catch((error: unknown) => {
    logger.warn("cannot drop old uploads", { reason: AppError.from(error).message });
  });
}

async function dispatch(call: Call, path: string): Promise<RegistryResponse> {
  const route = parseRoute(path);
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

function base(method: string): RegistryResponse {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, ["GET", "HEAD"]);
  return jsonResponse(200, {}, { "Docker-Distribution-API-Version": "registry/2.0" });
}
