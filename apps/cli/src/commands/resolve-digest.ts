import { AppError, type Digest } from "@soci-ts/core";

/**
 * The one of `digests` that `text` means: the whole digest, or its beginning, with or without the algorithm.
 * @throws AppError `not_found` if there is none; `invalid_argument` if there are several.
 */
export function resolveDigest(
  what: "index" | "ztoc",
  text: string,
  digests: readonly Digest[],
): Digest {
  const matches = new Set(
    digests.filter((digest) => digest.startsWith(text) || digest.split(":")[1]?.startsWith(text)),
  );
  const [match] = matches;
  if (match === undefined || text === "") {
    throw new AppError(
      "not_found",
      `Cannot find ${what} ${JSON.stringify(text)}: the store has none with that digest, want one that \`soci ${what} ls\` lists`,
    );
  }
  if (matches.size > 1) {
    throw new AppError(
      "invalid_argument",
      `Cannot tell which ${what} ${JSON.stringify(text)} is: ${matches.size} digests start so, want more digits`,
    );
  }
  return match;
}
