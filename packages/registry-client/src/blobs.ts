import {
  AppError,
  type Digest,
  DigestMismatchError,
  type IoOptions,
  verifyDigest,
} from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { headerValue } from "./headers.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { RemoteBlob } from "./remote-blob.ts";

/** Content that comes with another digest than asked for is fetched this often; it may have been damaged on the way. */
const DIGEST_ATTEMPTS = 2;

/** A blob whole, its size and digest checked. */
export async function fetchBlob(
  blob: RemoteBlob,
  descriptor: Descriptor,
  options: IoOptions & { readonly maxBytes: number },
): Promise<Uint8Array> {
  if (descriptor.size > options.maxBytes) {
    throw new AppError(
      "resource_exhausted",
      `Cannot fetch blob ${descriptor.digest}: it has ${descriptor.size} bytes, want at most ${options.maxBytes}`,
    );
  }
  for (let attempt = 1; ; attempt++) {
    try {
      const bytes = await blob.readAt(0, descriptor.size, options);
      verifyDigest(`blob ${descriptor.digest}`, bytes, descriptor.digest);
      return bytes;
    } catch (error) {
      if (attempt >= DIGEST_ATTEMPTS || !(error instanceof DigestMismatchError)) throw error;
      blob.distrust();
    }
  }
}

/** True if the repository has the blob at this host. */
export async function blobExists(
  registry: RegistryHost,
  repository: string,
  digest: Digest,
  options: IoOptions & { readonly scopes?: readonly string[] } = {},
): Promise<boolean> {
  return registry.exchange(
    {
      action: `look up blob ${digest} of ${registry.name}/${repository}`,
      method: "HEAD",
      target: `/v2/${repository}/blobs/${digest}`,
      expect: [200, 404],
      repository,
      scopes: options.scopes ?? [`repository:${repository}:pull`],
      signal: options.signal,
    },
    (answer) => {
      const told = headerValue(answer.headers, "docker-content-digest");
      return answer.status === 200 && (told === undefined || told === digest);
    },
  );
}
