import { AppError, type IoOptions } from "@soci-ts/core";
import type { ImageLayersConfig, ImageSource, ResolvedImage } from "@soci-ts/soci";

/** How long to wait. */
export interface ResolveOptions {
  readonly signal: AbortSignal;
  readonly lookupTimeoutMs: number;
}

/** An image's manifest, and its config on the way. */
export interface ResolvedInTime {
  readonly image: ResolvedImage;
  readonly config: Promise<ImageLayersConfig>;
}

/**
 * Manifest and config, each given up after the same time as the index: containerd, which is asked next, may reach the registry another way.
 * @throws AppError `deadline_exceeded`; what the source throws; the signal's reason.
 */
export async function resolveInTime(
  source: ImageSource,
  { signal, lookupTimeoutMs }: ResolveOptions,
): Promise<ResolvedInTime> {
  const inTime = async <T>(what: string, read: (io: IoOptions) => Promise<T>): Promise<T> => {
    const deadline = AbortSignal.timeout(lookupTimeoutMs);
    try {
      return await read({ signal: AbortSignal.any([signal, deadline]) });
    } catch (error) {
      signal.throwIfAborted();
      throw deadline.aborted ? lateError(what, lookupTimeoutMs, error) : error;
    }
  };
  const image = await inTime("manifest", (io) => source.resolve(undefined, io));
  const config = inTime("config", (io) => image.config(io));
  config.catch(() => {}); // it is awaited beside the index
  return { image, config };
}

function lateError(what: string, timeoutMs: number, cause: unknown): AppError {
  const message = `Cannot read the image's ${what}: no answer within ${timeoutMs} ms`;
  return new AppError("deadline_exceeded", message, { cause });
}
