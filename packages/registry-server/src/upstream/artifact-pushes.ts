import { AppError, type Digest, type Logger } from "@soci-ts/core";
import { MANIFEST_LIMIT_BYTES } from "@soci-ts/oci";
import type { RawAnswer } from "@soci-ts/registry-client";
import { collected, headerOf, type RegistryResponse } from "../http.ts";
import { type ManifestFacts, readManifestFacts } from "../manifest-facts.ts";
import { SpecError } from "../spec-error.ts";
import { whole } from "../uploads.ts";
import type { ReadDeps } from "./blob-reads.ts";
import { MAX_KEPT_ARTIFACT_BYTES } from "./limits.ts";
import type { LocalRegistry } from "./local.ts";
import type { Passes } from "./passes.ts";
import { isRefusal } from "./refusal.ts";
import { discard, readLimited, relayed } from "./relay.ts";
import { pullRequest, rawRequest, type Visit } from "./visit.ts";

/** Manifests of an index that is kept are kept too, down to this depth. */
const MAX_DEPTH = 3;

/**
 * Pushes of manifests. All go to the upstream first. One with a subject is kept here as well unless the upstream says that it
 * will list it (`OCI-Subject`); also if the upstream refuses it. Where clients' logins are passed on, only of those who may read the repository. Its
 * blobs are then copied from the upstream, so that it stays whole whatever the upstream does with what it does not know.
 */
export class ArtifactPushes {
  readonly #local: LocalRegistry;
  readonly #passes: Passes;
  readonly #logger: Logger;

  constructor({ local, passes }: Pick<ReadDeps, "local" | "passes">, logger: Logger) {
    this.#local = local;
    this.#passes = passes;
    this.#logger = logger;
  }

  /** Answers PUT of `/v2/<name>/manifests/<reference>`. */
  async handle(visit: Visit): Promise<RegistryResponse> {
    const bytes = await readManifest(visit);
    const answer = await visit.upstream.ask(rawRequest(visit, { body: bytes }));
    const { status, headers } = answer;
    const isRefused = isRefusal(visit, status);
    const isDropped = status === 201 && headers["oci-subject"] === undefined;
    const facts = isRefused || isDropped ? factsOf(visit, bytes) : undefined;
    if (facts?.subject === undefined) return relayed(visit, answer);
    const refusal = await this.#passes.refusal(visit);
    if (refusal !== undefined) return relayed(visit, answer);
    try {
      await this.#copyContent(visit, facts, { leftBytes: MAX_KEPT_ARTIFACT_BYTES, depth: 1 });
      const kept = await this.#local.handle(visit, pieces(bytes));
      if (kept.status !== 201 && isDropped) return relayed(visit, answer);
      answer.close();
      if (kept.status !== 201) return kept;
      const reason = isRefused ? "refused" : "not listed";
      const { repository, upstream } = visit;
      const fields = { upstream: upstream.name, repository, reason, status };
      this.#logger.info("artifact is kept here", fields);
      return kept;
    } catch (error) {
      this.#logger.warn("artifact cannot be kept here", { reason: AppError.from(error).message });
      return relayed(visit, answer);
    }
  }

  /** Brings what a manifest refers to into our own registry. */
  async #copyContent(visit: Visit, facts: ManifestFacts, budget: Budget): Promise<void> {
    for (const digest of facts.blobs) await this.#copyBlob(visit, digest, budget);
    for (const digest of facts.manifests) await this.#copyManifest(visit, digest, budget);
  }

  async #copyBlob(visit: Visit, digest: Digest, budget: Budget): Promise<void> {
    const path = `blobs/${digest}`;
    if (await this.#local.has(visit, path)) return;
    const answer = await this.#fetch(visit, path);
    try {
      const { body } = answer;
      const response = await this.#local.ask(visit, {
        method: "POST",
        path: `blobs/uploads/?digest=${digest}`,
        body: within(budget, body),
      });
      if (response.status !== 201) throw notKept(digest, response.status);
    } finally {
      answer.close();
    }
  }

  async #copyManifest(visit: Visit, digest: Digest, budget: Budget): Promise<void> {
    const path = `manifests/${digest}`;
    const isHere =
      (await this.#local.has(visit, path)) || (await this.#local.has(visit, `blobs/${digest}`));
    if (isHere) return;
    if (budget.depth > MAX_DEPTH)
      throw new AppError("resource_exhausted", "Cannot keep artifact: it is nested too deeply");
    const answer = await this.#fetch(visit, path);
    const bytes = await readLimited(answer, MANIFEST_LIMIT_BYTES);
    if (bytes === undefined)
      throw new AppError(
        "resource_exhausted",
        "Cannot keep artifact: a manifest of it is too large",
      );
    const contentType = answer.headers["content-type"];
    const facts = readManifestFacts(bytes, contentType);
    budget.depth += 1;
    await this.#copyContent(visit, facts, budget);
    budget.depth -= 1;
    const headers = { "content-length": String(bytes.length), "content-type": contentType };
    const kept = await this.#local.ask(visit, {
      method: "PUT",
      path,
      headers,
      body: pieces(bytes),
    });
    discard(kept);
    if (kept.status !== 201) throw notKept(digest, kept.status);
  }

  async #fetch(visit: Visit, path: string): Promise<RawAnswer> {
    const { upstream, repository } = visit;
    const answer = await upstream.ask(pullRequest(visit, `/v2/${repository}/${path}`));
    if (answer.status === 200) return answer;
    answer.close();
    throw new AppError("not_found", `Cannot fetch ${path} from ${upstream.name}: ${answer.status}`);
  }
}

interface Budget {
  leftBytes: number;
  depth: number;
}

async function* within(budget: Budget, body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const piece of body) {
    budget.leftBytes -= piece.length;
    if (budget.leftBytes < 0) {
      const most = `want at most ${MAX_KEPT_ARTIFACT_BYTES} bytes`;
      throw new AppError("resource_exhausted", `Cannot keep artifact: it is too large, ${most}`);
    }
    yield piece;
  }
}

async function* pieces(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Undefined if it is no manifest that we understand: then it is the upstream's alone. */
function factsOf({ request }: Visit, bytes: Uint8Array): ManifestFacts | undefined {
  try {
    return readManifestFacts(bytes, headerOf(request, "content-type"));
  } catch (error) {
    if (error instanceof SpecError) return undefined;
    throw error;
  }
}

async function readManifest({ request }: Visit): Promise<Uint8Array> {
  const bytes = await collected(whole(request.body), MANIFEST_LIMIT_BYTES);
  if (bytes !== undefined) return bytes;
  const most = `want at most ${MANIFEST_LIMIT_BYTES} bytes`;
  throw new SpecError("SIZE_INVALID", `Cannot pass manifest on: it is too large, ${most}`, {
    status: 413,
  });
}

function notKept(digest: Digest, status: number): AppError {
  return new AppError("failed_precondition", `Cannot keep ${digest}: our registry says ${status}`);
}
