import type { RepositoryName } from "@soci-ts/oci";
import { RegistryClient, type RegistryClientOptions } from "../client.ts";

/** Retries that do not make tests wait. */
export const FAST_RETRY = { attempts: 4, minDelayMs: 1, maxDelayMs: 4, maxRetryAfterMs: 3_000 };

/** A client of the loopback's plain HTTP, with fast retries. */
export function testClient(options: RegistryClientOptions = {}): RegistryClient {
  return new RegistryClient({
    plainHttp: true,
    retry: FAST_RETRY,
    referrersSettleMs: 60,
    systemCaFiles: [],
    ...options,
  });
}

/** A repository of a test server. */
export function repositoryOn(
  server: { readonly host: string },
  repository = "team/app",
): RepositoryName {
  return { registry: server.host, repository };
}

/** Bytes that differ from place to place. */
export function patternBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + Math.floor(at / 251)) % 256;
  return bytes;
}

/** All pieces of a stream, joined. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}
