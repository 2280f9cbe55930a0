import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: Buffer;
}

/** What a test's request may have. */
export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly agent?: Agent;
}

/** Sends a request with its path exactly as given (fetch would normalise it). */
export async function ask(
  url: string,
  method: string,
  path: string,
  options: Ask = {},
): Promise<Answer> {
  const { body, headers, agent } = options;
  const outgoing = request(url, { method, path, headers, agent });
  const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
  outgoing.end(body);
  const [response] = await answered;
  const bytes = Buffer.concat(await response.toArray());
  return { status: response.statusCode ?? 0, headers: response.headers, bytes };
}

/** The sha256 digest of bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A fresh folder that goes away with the test. */
export async function freshFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "soci-referrers-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
