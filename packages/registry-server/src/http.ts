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

/** Bytes at hand, or a range of an open file, whose descriptor is closed by whoever gets the response. `end` is exclusive. */
export type ResponseBody =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | {
      readonly kind: "file";
      readonly descriptor: number;
      readonly start: number;
      readonly end: number;
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

/** True if the client has the content already (RFC 9110 §13.1.2; weak comparison). */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((item) => {
    const candidate = item.trim().replace(/^W\//, "");
    return candidate === "*" || candidate === etag;
  });
}
