import { closeSync } from "node:fs";
import { AppError, type Digest } from "@soci-ts/core";
import { blobHeaders, blobResponse, requestedRange } from "./blob-answer.ts";
import type { Call } from "./context.ts";
import { bytesResponse, emptyResponse, type RegistryResponse, verdictOf } from "./http.ts";
import { methodNotAllowed, preconditionFailed, SpecError } from "./spec-error.ts";

/** A blob that a path names. */
export interface BlobTarget {
  readonly repository: string;
  readonly digest: Digest;
}

/** `/v2/<name>/blobs/<digest>` (distribution-spec v1.1.1 end-2, end-10). */
export async function handleBlob(call: Call, target: BlobTarget): Promise<RegistryResponse> {
  switch (call.request.method) {
    case "GET":
    case "HEAD":
      return readBlob(call, target);
    case "DELETE":
      return removeBlob(call, target);
    default:
      throw methodNotAllowed(call.request.method, ["GET", "HEAD", "DELETE"]);
  }
}

async function readBlob(call: Call, { repository, digest }: BlobTarget): Promise<RegistryResponse> {
  const { context, request } = call;
  const sizeBytes = context.blobs.find(repository, digest);
  if (sizeBytes === undefined) throw unknownBlob(repository, digest);
  const described = blobHeaders(digest);
  const { ETag: etag } = described;
  const headers = {
    ...described,
    // The digest names the bytes: they cannot change under it.
    "Cache-Control": "max-age=31536000, immutable",
  };
  const verdict = verdictOf(request, etag);
  if (verdict === "failed") throw preconditionFailed(etag);
  if (verdict === "not modified") {
    return { status: 304, headers: { ETag: etag, "Docker-Content-Digest": digest } };
  }
  if (request.method === "HEAD") {
    if (!(await context.files.isWhole(digest, sizeBytes))) throw lostBlob(call, repository, digest);
    renewGrace(call, repository, digest);
    return emptyResponse(200, { ...headers, "Content-Length": String(sizeBytes) });
  }
  const range = requestedRange(request, etag, sizeBytes);
  const { start, end } = range ?? { start: 0, end: sizeBytes };
  const descriptor = await context.files.open(digest, sizeBytes);
  if (descriptor === undefined) throw lostBlob(call, repository, digest);
  if (sizeBytes === 0) {
    closeSync(descriptor);
    return bytesResponse(200, new Uint8Array(), headers);
  }
  return blobResponse(headers, { sizeBytes, range }, { kind: "file", descriptor, start, end });
}

/** Clients ask with HEAD before a push and leave out what is there: from now on they rely on it. */
function renewGrace({ context }: Call, repository: string, digest: Digest): void {
  if (context.isReadOnly) return;
  try {
    context.blobs.renew(repository, digest);
  } catch (error) {
    // The disk is full, say: reading must go on.
    const reason = AppError.from(error).message;
    context.logger.warn("cannot renew the grace time of a blob", { repository, digest, reason });
  }
}

async function removeBlob(
  { context }: Call,
  { repository, digest }: BlobTarget,
): Promise<RegistryResponse> {
  const outcome = context.blobs.remove(repository, digest);
  if (outcome === "absent") throw unknownBlob(repository, digest);
  if (outcome === "forgotten") await context.files.remove(digest);
  return emptyResponse(202);
}

/** Answering 404 lets a client push the blob again, which mends the loss. */
function lostBlob({ context }: Call, repository: string, digest: Digest): SpecError {
  context.logger.error("blob file is missing or damaged", { repository, digest });
  return unknownBlob(repository, digest);
}

function unknownBlob(repository: string, digest: Digest): SpecError {
  return new SpecError("BLOB_UNKNOWN", `Cannot find blob in ${repository}`, { details: [digest] });
}
