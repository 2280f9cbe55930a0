import { closeSync, readSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "@soci-ts/core";
import {
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_LAYER_GZIP,
  MEDIA_TYPE_OCI_MANIFEST,
} from "@soci-ts/oci";
import type { RegistryHandler } from "../access/guard.ts";
import type { Peer } from "../http.ts";

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
}

/** What a test's request may have. */
export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly peer?: Peer;
}

/** Sends a request and reads the answer as a client would. */
export async function ask(
  server: RegistryHandler,
  method: string,
  url: string,
  { headers = {}, body, peer }: Ask = {},
): Promise<Answer> {
  const isBytes = body instanceof Uint8Array;
  const response = await server.handle({
    method,
    url,
    headers: { ...(isBytes && { "content-length": String(body.length) }), ...headers },
    body: isBytes ? pieces(body) : (body ?? pieces(new Uint8Array())),
    ...(peer && { peer }),
  });
  let bytes = Buffer.alloc(0);
  if (response.body?.kind === "bytes") bytes = Buffer.from(response.body.bytes);
  if (response.body?.kind === "file") {
    const { descriptor, start, end } = response.body;
    bytes = Buffer.alloc(end - start);
    readSync(descriptor, bytes, 0, bytes.length, start);
    closeSync(descriptor);
    response.body.release?.();
  }
  if (response.body?.kind === "stream") {
    const found: Uint8Array[] = [];
    try {
      for await (const piece of response.body.pieces) found.push(piece);
    } finally {
      response.body.cancel();
    }
    bytes = Buffer.concat(found);
  }
  return { status: response.status, headers: response.headers, bytes };
}

/** The codes of an error body. */
export function codes(answer: Answer): string[] {
  const body = JSON.parse(answer.bytes.toString()) as { errors: { code: string }[] };
  return body.errors.map((error) => error.code);
}

/** Bytes as a body in small pieces. */
export async function* pieces(bytes: Uint8Array, sizeBytes = 1000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

/** A body that breaks off after its bytes, as when the client goes away. */
export async function* broken(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield* pieces(bytes);
  throw new Error("aborted");
}

/** A fresh folder that goes away with the test. */
export async function freshFolder(
  above: string = tmpdir(),
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(above, "soci-registry-server-"));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** The paths of all files below a folder, except the databases and the reserve. */
export async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter(({ name }) => !name.includes(".sqlite") && name !== "reserve")
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** Stores a blob with a single POST; returns its digest. */
export async function putBlob(
  server: RegistryHandler,
  repository: string,
  bytes: Uint8Array,
): Promise<string> {
  const digest = sha256(bytes);
  const url = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
  const { status } = await ask(server, "POST", url, { body: bytes });
  if (status !== 201) throw new Error(`pushing a blob gave ${status}`);
  return digest;
}

/** A manifest whose config is `{}` and whose layers are the given digests. */
export function manifestOf(layers: readonly string[], more: object = {}): Buffer {
  const config = { mediaType: MEDIA_TYPE_OCI_CONFIG, digest: sha256(Buffer.from("{}")), size: 2 };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      config,
      layers: layers.map((digest) => ({ mediaType: MEDIA_TYPE_OCI_LAYER_GZIP, digest, size: 1 })),
      ...more,
    }),
  );
}

/** Stores the config and a manifest under a tag or its digest; returns the digest. */
export async function putManifest(
  server: RegistryHandler,
  repository: string,
  bytes: Uint8Array,
  tag?: string,
): Promise<string> {
  await putBlob(server, repository, Buffer.from("{}"));
  const url = `/v2/${repository}/manifests/${tag ?? sha256(bytes)}`;
  const headers = { "content-type": MEDIA_TYPE_OCI_MANIFEST };
  const answer = await ask(server, "PUT", url, { body: bytes, headers });
  if (answer.status !== 201) throw new Error(`pushing a manifest gave ${answer.bytes.toString()}`);
  return sha256(bytes);
}
