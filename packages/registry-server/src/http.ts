import { concatBytes } from "@soci-ts/core";

/** A request, as any HTTP server can give it. */
export interface RegistryRequest {
  /** In upper case. */
  readonly method: string;
  /** The request target as it came: path and query, still percent-encoded, not normalised. */
  readonly url: string;
  /** By lower-case name, as `node:http` has them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Read at most once and not always to its end; what is left is the caller's to discard. Throws when the client goes away. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The other end of the connection, as the web server sees it. */
  readonly peer?: Peer;
}

/** The other end of a connection: the client, or a proxy. */
export interface Peer {
  /** An IP address. */
  readonly address: string;
  /** True if the connection is TLS. */
  readonly isSecure: boolean;
}

/**
 * Bytes at hand; a range of an open file (`end` is exclusive), whose descriptor is closed, and then `release` called, by whoever
 * gets the response; or pieces as they come from elsewhere.
 */
export type ResponseBody =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | {
      readonly kind: "file";
      readonly descriptor: number;
      readonly start: number;
      readonly end: number;
      readonly release?: () => void;
    }
  | {
      readonly kind: "stream";
      /** To be iterated once. If it throws, the connection must be cut: the client would take a short body for a whole one. */
      readonly pieces: AsyncIterable<Uint8Array>;
      /** Gives up what was not read yet, also while a piece is awaited. Idempotent; to be called however it ends. */
      readonly cancel: () => void;
    };

/** The answer to a request. Header names are in canonical case; `Content-Length` is set whenever there can be a body. */
export interface RegistryResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: ResponseBody;
}

/** A header's value; the first if there are several. */
export function headerOf(request: RegistryRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** The path and the query of a request target. */
export function splitTarget(url: string): { path: string; query: URLSearchParams } {
  const at = url.indexOf("?");
  if (at < 0) return { path: url, query: new URLSearchParams() };
  return { path: url.slice(0, at), query: new URLSearchParams(url.slice(at + 1)) };
}

/** The length that the client announced; undefined for a chunked body or nonsense. */
export function contentLengthOf(request: RegistryRequest): number | undefined {
  const text = headerOf(request, "content-length");
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** The body of a request that has none. */
export async function* noBody(): AsyncIterable<Uint8Array> {}

/** All bytes of a body; undefined if it has more than `limitBytes`: then it is not read on. */
export async function collected(
  body: AsyncIterable<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    sizeBytes += piece.length;
    if (sizeBytes > limitBytes) return undefined;
    pieces.push(piece);
  }
  return concatBytes(pieces);
}

/** An answer without content. */
export function emptyResponse(
  status: number,
  headers: Readonly<Record<string, string>> = {},
): RegistryResponse {
  return { status, headers: status === 204 ? headers : { "Content-Length": "0", ...headers } };
}

/** An answer with a JSON document. */
export function jsonResponse(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): RegistryResponse {
  return bytesResponse(status, Buffer.from(JSON.stringify(value)), {
    "Content-Type": "application/json",
    ...headers,
  });
}

/** An answer with bytes; `headers` name their type. */
export function bytesResponse(
  status: number,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>>,
): RegistryResponse {
  return {
    status,
    headers: { "Content-Length": String(bytes.length), ...headers },
    body: { kind: "bytes", bytes },
  };
}

/** What a request's conditions say of what is there: go on, answer 304, or refuse with 412. */
export type Verdict = "go on" | "not modified" | "failed";

/**
 * `If-Match` (strong comparison) before `If-None-Match` (weak), RFC 9110 §13.2.2.
 * @param etag - of what the path names now; undefined if there is nothing.
 */
export function verdictOf(request: RegistryRequest, etag: string | undefined): Verdict {
  const wanted = headerOf(request, "if-match");
  if (wanted !== undefined && !listsEtag(wanted, etag)) return "failed";
  const had = headerOf(request, "if-none-match");
  if (had === undefined || !listsEtag(had.replaceAll("W/", ""), etag)) return "go on";
  const isRead = request.method === "GET" || request.method === "HEAD";
  return isRead ? "not modified" : "failed";
}

function listsEtag(header: string, etag: string | undefined): boolean {
  if (etag === undefined) return false;
  const items = header.split(",").map((item) => item.trim());
  return items.includes(etag) || items.includes("*");
}
