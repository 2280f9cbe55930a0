import { type CallOptions, openContainerd } from "@soci-ts/containerd-api";
import { AppError, type IoOptions, parseDigest } from "@soci-ts/core";
import type { ContainerdContent } from "@soci-ts/soci";

/** Bytes that are read with one call, so that each has to end in time, however large the blob is. */
const CALL_BYTES = 16 * 1024 * 1024;

/**
 * What containerd has, over its gRPC interface. Nothing is connected yet; the caller closes it.
 * @throws AppError `invalid_argument` if no socket can have that path.
 */
export function openContainerdContent(where: {
  readonly address: string;
  readonly namespace: string;
}): ContainerdContent & AsyncDisposable {
  const { images, content, ...containerd } = openContainerd(where.address, where);
  return {
    async findImage(name, options) {
      const { image } = await telling(where.address, images.get({ name }, io(options)));
      const target = image?.target ?? undefined;
      if (target === undefined) throw new AppError("not_found", `image ${name} has no target`);
      const { mediaType, digest, size } = target;
      return { mediaType, digest: parseDigest(digest), size };
    },
    async contentSize(digest, options) {
      const { info } = await telling(where.address, content.info({ digest }, io(options)));
      return info?.size ?? 0;
    },
    async *readContent(digest, { start, end }, options) {
      for (let at = start; at < end; at += CALL_BYTES) {
        const size = Math.min(CALL_BYTES, end - at);
        for await (const { data } of content.read({ digest, offset: at, size }, io(options))) {
          yield data;
        }
      }
    },
    [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose](),
  };
}

function io(options: IoOptions | undefined): CallOptions {
  return { signal: options?.signal };
}

async function telling<T>(address: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw named(address, AppError.from(error));
  }
}

/** gRPC's own words for a socket that is not there do not name it. */
function named(address: string, cause: AppError): AppError {
  const { code, message } = cause;
  if (code !== "unavailable") return cause;
  const state = /connect E[A-Z]+/.exec(message)?.[0] ?? message;
  return new AppError(code, `Cannot reach containerd at ${address}: ${state}`, { cause });
}
