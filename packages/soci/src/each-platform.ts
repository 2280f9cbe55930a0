import { AppError, type IoOptions } from "@soci-ts/core";
import { formatPlatform, type Platform } from "@soci-ts/oci";
import type { ImageSource } from "./image-source.ts";

/** Which platforms of an image are meant: these, or all that it has. */
export type PlatformChoice = readonly Platform[] | "all";

/** What became of one platform. */
export type PlatformOutcome<T> =
  | { readonly kind: "done"; readonly platform: Platform; readonly result: T }
  | { readonly kind: "failed"; readonly platform: Platform; readonly error: AppError };

/**
 * Does `work` for each platform, one after the other; one that fails does not keep the others from theirs.
 * @throws AppError if the image's platforms can't be listed or it has none; what `work` throws once `signal` is aborted.
 */
export async function eachPlatform<T>(
  source: ImageSource,
  choice: PlatformChoice,
  options: IoOptions & { readonly work: (platform: Platform) => Promise<T> },
): Promise<readonly PlatformOutcome<T>[]> {
  const listed = choice === "all" ? await source.platforms(options) : choice;
  const platforms = new Map(listed.map((platform) => [formatPlatform(platform), platform]));
  if (platforms.size === 0) {
    throw new AppError(
      "not_found",
      `Cannot choose platforms of ${source.reference}: it has no image, want one`,
    );
  }
  const outcomes: PlatformOutcome<T>[] = [];
  for (const platform of platforms.values()) {
    try {
      outcomes.push({ kind: "done", platform, result: await options.work(platform) });
    } catch (error) {
      options.signal?.throwIfAborted();
      outcomes.push({ kind: "failed", platform, error: AppError.from(error) });
    }
  }
  return outcomes;
}
