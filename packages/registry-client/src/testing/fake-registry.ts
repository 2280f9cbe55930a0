import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { ServerOptions } from "node:https";
import { sha256 } from "@soci-ts/core";
import {
  answer,
  type Handler,
  type SeenRequest,
  startServer,
  type TestServer,
} from "./http-server.ts";

/** How the fake registry differs from a plain one; may be changed while it runs. */
export interface FakeBehaviour {
  /** Whether it has the referrers API (and says so when a subject is pushed). */
  referrersApi: boolean;
  /** Whether it understands Range. */
  ranges: boolean;
  /** Whether it checks If-Match and If-None-Match on manifests. */
  conditions: boolean;
  /** Where blobs are; with a value, GET of a blob is a redirect to this plus the digest. */
  blobRedirect: string | undefined;
  /** Called before each request; true if it answered itself. */
  intercept:
    | ((request: SeenRequest, response: ServerResponse) => boolean | Promise<boolean>)
    | undefined;
}

/** A small registry in memory, with programmable faults. */
export interface FakeRegistry extends TestServer, FakeBehaviour {
  readonly blobs: Map<string, Buffer>;
  /** By `repository:tag` and `repository@digest`. */
  readonly manifests: Map<string, { bytes: Buffer; mediaType: string }>;
  readonly uploads: Map<string, Buffer>;
  /** Puts a blob and names it. */
  addBlob(bytes: Uint8Array): {
    mediaType: string;
    digest: ReturnType<typeof sha256>;
    size: number;
  };
}

interface Call {
  readonly registry: FakeRegistry;
  readonly request: SeenRequest;
  readonly response: ServerResponse;
  readonly url: URL;
}

/** Starts a fake registry; with `tls` it speaks https. */
export async function startFakeRegistry(
  behaviour: Partial<FakeBehaviour> = {},
  tls?: ServerOptions,
): Promise<FakeRegistry> {
  const server = await startServer(() => {}, tls);
  const registry: FakeRegistry = Object.assign(server, {
    referrersApi: true,
    ranges: true,
    conditions: false,
    blobRedirect: undefined,
    intercept: undefined,
    ...behaviour,
    blobs: new Map<string, Buffer>(),
    manifests: new Map<string, { bytes: Buffer; mediaType: string }>(),
    uploads: new Map<string, Buffer>(),
    addBlob(bytes: Uint8Array) {
      const digest = sha256(bytes);
      registry.blobs.set(digest, Buffer.from(bytes));
      return { mediaType: "application/octet-stream", digest, size: bytes.length };
    },
  });
  const handler: Handler = async (request, response) => {
    if (registry.intercept !== undefined && (await registry.intercept(request, response))) return;
    route({ registry, request, response, url: new URL(request.path, server.url) });
  };
  server.handler = handler;
  return registry;
}

function route(call: Call): void {
  const { url, response, request } = call;
  const match = /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|referrers|tags)\/(.*)$/.exec(
    url.pathname,
  );
  const [, repository = "", kind = "", name = ""] = match ?? [];
  if (url.pathname === "/v2/") answer(response, 200, {}, "{}");
  else if (kind === "blobs/uploads") upload(call, repository, name);
  else if (kind === "blobs") sendBlob(call, name);
  else if (kind === "manifests" && request.method === "PUT") putManifest(call, repository, name);
  else if (kind === "manifests") sendManifest(call, repository, name);
  else if (kind === "referrers") sendReferrers(call, repository, name);
  else if (kind === "tags") sendTags(call, repository);
  else answer(response, 404);
}

/** Answers with a registry's error body. */
export function refuse(response: ServerResponse, status: number, code: string, message = ""): void {
  const body = JSON.stringify({ errors: [{ code, message }] });
  answer(response, status, { "content-type": "application/json" }, body);
}

/** Answers a blob request from `bytes`, ranges honoured unless told otherwise. */
export function sendBytes(
  request: SeenRequest,
  response: ServerResponse,
  bytes: Buffer,
  ranges = true,
): void {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (match === null || !ranges) {
    answer(
      response,
      200,
      { "content-length": bytes.length },
      request.method === "HEAD" ? "" : bytes,
    );
    return;
  }
  const start = Number(match[1]);
  const end = Math.min(Number(match[2]) + 1, bytes.length);
  const headers = {
    "content-range": `bytes ${start}-${end - 1}/${bytes.length}`,
    "content-length": end - start,
  };
  answer(response, 206, headers, bytes.subarray(start, end));
}

function sendBlob(call: Call, digest: string): void {
  const { registry, request, response } = call;
  const bytes = registry.blobs.get(digest);
  if (bytes === undefined) {
    refuse(response, 404, "BLOB_UNKNOWN");
    return;
  }
  if (registry.blobRedirect !== undefined && request.method === "GET") {
    answer(response, 307, { location: `${registry.blobRedirect}${digest}` });
    return;
  }
  sendBytes(request, response, bytes, registry.ranges);
}

function putManifest(call: Call, repository: string, name: string): void {
  const { registry, request, response } = call;
  const key = `${repository}${name.includes(":") ? "@" : ":"}${name}`;
  const old = registry.manifests.get(key);
  const etag = old && `"${sha256(old.bytes)}"`;
  if (registry.conditions) {
    const match = request.headers["if-match"];
    const noneMatch = request.headers["if-none-match"];
    const fails =
      (match !== undefined && match !== etag) || (noneMatch === "*" && old !== undefined);
    if (fails) {
      refuse(response, 412, "DENIED");
      return;
    }
  }
  const digest = sha256(request.body);
  const stored = { bytes: request.body, mediaType: request.headers["content-type"] ?? "" };
  registry.manifests.set(key, stored);
  registry.manifests.set(`${repository}@${digest}`, stored);
  const subject = JSON.parse(request.body.toString()).subject?.digest;
  const handled = registry.referrersApi && subject !== undefined;
  answer(response, 201, {
    "docker-content-digest": digest,
    ...(handled && { "oci-subject": subject }),
  });
}

function sendManifest(call: Call, repository: string, name: string): void {
  const { registry, request, response } = call;
  const found = registry.manifests.get(`${repository}${name.includes(":") ? "@" : ":"}${name}`);
  if (found === undefined) {
    refuse(response, 404, "MANIFEST_UNKNOWN", "no such manifest");
    return;
  }
  const headers = {
    "content-type": found.mediaType,
    "content-length": found.bytes.length,
    "docker-content-digest": sha256(found.bytes),
    etag: `"${sha256(found.bytes)}"`,
  };
  answer(response, 200, headers, request.method === "HEAD" ? "" : found.bytes);
}

function sendReferrers(call: Call, repository: string, digest: string): void {
  const { registry, response, url } = call;
  if (!registry.referrersApi) {
    answer(response, 404, { "content-type": "text/plain" }, "404 page not found");
    return;
  }
  const manifests = [];
  for (const [key, { bytes, mediaType }] of registry.manifests) {
    const document = JSON.parse(bytes.toString());
    if (!key.startsWith(`${repository}@`) || document.subject?.digest !== digest) continue;
    const artifactType = document.artifactType ?? document.config.mediaType;
    manifests.push({ mediaType, digest: sha256(bytes), size: bytes.length, artifactType });
  }
  // Two to a page.
  const at = Number(url.searchParams.get("at") ?? "0");
  const next = new URL(url);
  next.searchParams.set("at", String(at + 2));
  const body = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: manifests.slice(at, at + 2) };
  const headers = {
    "content-type": INDEX_TYPE,
    ...(at + 2 < manifests.length && { link: `<${next.pathname}${next.search}>; rel="next"` }),
  };
  answer(response, 200, headers, JSON.stringify(body));
}

const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

function sendTags(call: Call, repository: string): void {
  const { registry, response, url } = call;
  const prefix = `${repository}:`;
  const tags = [...registry.manifests.keys()]
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length));
  const last = url.searchParams.get("last");
  const rest = last === null ? tags : tags.slice(tags.indexOf(last) + 1);
  const page = rest.slice(0, 2);
  const link = rest.length > 2 && { link: `<${url.pathname}?n=2&last=${page.at(-1)}>; rel="next"` };
  const headers = { "content-type": "application/json", ...link };
  answer(response, 200, headers, JSON.stringify({ name: repository, tags: page }));
}

function upload(call: Call, repository: string, id: string): void {
  const { registry, request, response, url } = call;
  if (request.method === "POST") {
    startUpload(call, repository);
    return;
  }
  const held = registry.uploads.get(id);
  if (held === undefined) {
    refuse(response, 404, "BLOB_UPLOAD_UNKNOWN");
    return;
  }
  const location = `/v2/${repository}/blobs/uploads/${id}?state=a%2Bb`;
  if (request.method === "PATCH") {
    const start = Number(/^(\d+)-/.exec(request.headers["content-range"] ?? "")?.[1] ?? "0");
    if (start !== held.length) {
      answer(response, 416, { location, range: `0-${Math.max(0, held.length - 1)}` });
      return;
    }
    const all = Buffer.concat([held, request.body]);
    registry.uploads.set(id, all);
    answer(response, 202, { location, range: `0-${Math.max(0, all.length - 1)}` });
    return;
  }
  if (request.method === "GET") {
    answer(response, 204, { location, range: `0-${Math.max(0, held.length - 1)}` });
    return;
  }
  const all = Buffer.concat([held, request.body]);
  const digest = sha256(all);
  registry.uploads.delete(id);
  if (digest !== url.searchParams.get("digest")) {
    refuse(response, 400, "DIGEST_INVALID");
    return;
  }
  registry.blobs.set(digest, all);
  answer(response, 201, {
    "docker-content-digest": digest,
    location: `/v2/${repository}/blobs/${digest}`,
  });
}

function startUpload(call: Call, repository: string): void {
  const { registry, response, url } = call;
  const mount = url.searchParams.get("mount");
  if (mount !== null && registry.blobs.has(mount)) {
    answer(response, 201, { "docker-content-digest": mount });
    return;
  }
  const id = randomUUID();
  registry.uploads.set(id, Buffer.alloc(0));
  answer(response, 202, {
    location: `/v2/${repository}/blobs/uploads/${id}?state=a%2Bb`,
    range: "0-0",
  });
}
