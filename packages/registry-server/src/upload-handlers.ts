import { type Digest, type DigestAlgorithm, digestAlgorithm } from "@soci-ts/core";
import type { Call } from "./context.ts";
import { contentLengthOf, emptyResponse, headerOf, type RegistryResponse } from "./http.ts";
import { CHUNK_MIN_BYTES } from "./limits.ts";
import { parseContentRange } from "./range.ts";
import { isRepositoryName, requireDigest, shown } from "./route.ts";
import { methodNotAllowed, SpecError } from "./spec-error.ts";
import {
  type Chunk,
  receivedRange,
  type SealedUpload,
  SINGLE_REQUEST,
  type UploadKey,
} from "./uploads.ts";

/** `/v2/<name>/blobs/uploads/` (distribution-spec v1.1.1 end-4a, 4b, 4c, 11): mount, single POST, or a new upload. */
export async function handleUploads(call: Call, repository: string): Promise<RegistryResponse> {
  const { context, request, query } = call;
  if (request.method !== "POST") throw methodNotAllowed(request.method, ["POST"]);
  const mounted = mount(call, repository);
  if (mounted !== undefined) return mounted;
  const digest = query.get("digest");
  if (digest !== null && !query.has("mount")) {
    return pushAtOnce(call, repository, requireDigest(digest));
  }
  const key = await context.uploads.create(repository, requestedAlgorithm(query));
  return emptyResponse(202, {
    ...uploadHeaders(key),
    Range: receivedRange(0),
    "OCI-Chunk-Min-Length": String(CHUNK_MIN_BYTES),
  });
}

/** `/v2/<name>/blobs/uploads/<id>` (distribution-spec v1.1.1 end-5, 6, 13, 14). */
export async function handleUpload(call: Call, key: UploadKey): Promise<RegistryResponse> {
  const { context, request } = call;
  switch (request.method) {
    case "GET": {
      const offset = await context.uploads.offset(key);
      return emptyResponse(204, { ...uploadHeaders(key), Range: receivedRange(offset) });
    }
    case "PATCH": {
      const offset = await withLocation(key, () => context.uploads.append(key, chunkOf(call)));
      return emptyResponse(202, { ...uploadHeaders(key), Range: receivedRange(offset) });
    }
    case "PUT":
      return finish(call, key);
    case "DELETE":
      await context.uploads.cancel(key);
      return emptyResponse(204);
    default:
      throw methodNotAllowed(request.method, ["GET", "PATCH", "PUT", "DELETE"]);
  }
}

/** The answer to a mount that works; undefined if none is asked for or the blob is not there, and an upload begins instead. */
function mount({ context, query }: Call, repository: string): RegistryResponse | undefined {
  const wanted = query.get("mount");
  if (wanted === null) return undefined;
  const digest = requireDigest(wanted);
  const from = query.get("from") ?? "";
  if (from !== "" && !isRepositoryName(from)) {
    throw new SpecError("NAME_INVALID", `Cannot mount from repository ${shown(from)}`);
  }
  const found = context.blobs.mount(digest, repository, from === "" ? undefined : from);
  return found ? created(repository, digest) : undefined;
}

async function pushAtOnce(
  call: Call,
  repository: string,
  digest: Digest,
): Promise<RegistryResponse> {
  const { uploads } = call.context;
  const key = await uploads.create(SINGLE_REQUEST, digestAlgorithm(digest));
  try {
    await uploads.seal(key, digest, chunkOf(call), keepBlob(call, repository, digest));
  } catch (error) {
    // A wrong digest has ended the upload already.
    await uploads.cancel(key).catch(() => {});
    throw error;
  }
  return created(repository, digest);
}

async function finish(call: Call, key: UploadKey): Promise<RegistryResponse> {
  const { repository } = key;
  const digest = requireDigest(call.query.get("digest") ?? "");
  const place = keepBlob(call, repository, digest);
  await withLocation(key, () => call.context.uploads.seal(key, digest, chunkOf(call), place));
  return created(repository, digest);
}

/**
 * File first, then the row that makes it a blob: see {@link BlobFiles}. An existing file is replaced by the same bytes. Where the row can't be written (the
 * disk is full), the file goes back, so that the client can close its upload again later.
 */
function keepBlob(
  { context }: Call,
  repository: string,
  digest: Digest,
): (sealed: SealedUpload) => void {
  return ({ path, sizeBytes }) => {
    context.files.place(digest, path);
    try {
      context.blobs.add(repository, digest, sizeBytes);
    } catch (error) {
      if (!context.blobs.exists(digest)) context.files.takeBack(digest, path);
      throw error;
    }
  };
}

/** @throws SpecError `SIZE_INVALID` if the headers contradict each other; nothing is read then. */
function chunkOf({ request }: Call): Chunk {
  const range = parseContentRange(headerOf(request, "content-range"));
  if (range === "invalid") {
    throw new SpecError("SIZE_INVALID", "Cannot read Content-Range: want <first>-<last>");
  }
  const length = contentLengthOf(request);
  if (range !== undefined && length !== undefined && length !== range.end - range.start) {
    throw new SpecError(
      "SIZE_INVALID",
      `Cannot add chunk: Content-Length is ${length}, want ${range.end - range.start} as in Content-Range`,
    );
  }
  return { body: request.body, range };
}

function requestedAlgorithm(query: URLSearchParams): DigestAlgorithm {
  const text = query.get("digest-algorithm") ?? "sha256";
  if (text === "sha256" || text === "sha512") return text;
  throw new SpecError(
    "DIGEST_INVALID",
    `Cannot use digest algorithm ${shown(text)}: want sha256 or sha512`,
  );
}

/** A refusal of a chunk says where the upload goes on. */
async function withLocation<T>(key: UploadKey, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SpecError) || error.status !== 416) throw error;
    throw error.withHeaders(uploadHeaders(key));
  }
}

function uploadHeaders({ repository, id }: UploadKey): {
  Location: string;
  "Docker-Upload-UUID": string;
} {
  return { Location: `/v2/${repository}/blobs/uploads/${id}`, "Docker-Upload-UUID": id };
}

function created(repository: string, digest: Digest): RegistryResponse {
  return emptyResponse(201, {
    Location: `/v2/${repository}/blobs/${digest}`,
    "Docker-Content-Digest": digest,
  });
}
