import type { Digest } from "@soci-ts/core";
import {
  headerOf,
  type RegistryRequest,
  type RegistryResponse,
  type ResponseBody,
} from "./http.ts";
import { type ByteRange, parseRange } from "./range.ts";
import { SpecError } from "./spec-error.ts";

type BlobHeader = "Content-Type" | "Docker-Content-Digest" | "Accept-Ranges" | "ETag";

/** What an answer says of a blob, whole or in part. */
export function blobHeaders(digest: Digest): Readonly<Record<BlobHeader, string>> {
  return {
    "Content-Type": "application/octet-stream",
    "Docker-Content-Digest": digest,
    "Accept-Ranges": "bytes",
    ETag: `"${digest}"`,
  };
}

/**
 * The part of a blob that is asked for; undefined for all of it. `If-Range` with another validator than ours means that the client has
 * old bytes: it gets everything (RFC 9110 §13.1.5).
 * @throws SpecError `SIZE_INVALID` with status 416.
 */
export function requestedRange(
  request: RegistryRequest,
  etag: string,
  sizeBytes: number,
): ByteRange | undefined {
  const condition = headerOf(request, "if-range");
  if (condition !== undefined && condition.trim() !== etag) return undefined;
  const range = parseRange(headerOf(request, "range"), sizeBytes);
  if (range !== "unsatisfiable") return range;
  throw new SpecError("SIZE_INVALID", `Cannot send that range: the blob has ${sizeBytes} bytes`, {
    status: 416,
    headers: { "Content-Range": `bytes */${sizeBytes}` },
  });
}

/**
 * An answer with bytes of a blob.
 * @param range - what was asked for; undefined for all.
 * @param body - gives what is to be sent.
 */
export function blobResponse(
  headers: Readonly<Record<string, string>>,
  { sizeBytes, range }: { readonly sizeBytes: number; readonly range: ByteRange | undefined },
  body: ResponseBody,
): RegistryResponse {
  const { start, end } = range ?? { start: 0, end: sizeBytes };
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...headers,
      "Content-Length": String(end - start),
      ...(range && { "Content-Range": `bytes ${start}-${end - 1}/${sizeBytes}` }),
    },
    body,
  };
}
