import { REFERRERS_PAGE_BYTES } from "./limits.ts";

/** The type that a client wants, if it wants one. A `+` that it forgot to encode arrives as a space, which no media type has. */
export function artifactTypeFilter(query: URLSearchParams): string | undefined {
  const text = query.get("artifactType");
  return text === null || text === "" ? undefined : text.replaceAll(" ", "+");
}

/** Entries of a list up to the limits of number and size, but at least one. */
export function leadingPage<T>(
  entries: readonly T[],
  limit: number,
  jsonOf: (entry: T) => string,
): readonly T[] {
  let sizeBytes = 0;
  const end = entries.findIndex((entry, at) => {
    sizeBytes += Buffer.byteLength(jsonOf(entry)) + 1;
    return at === limit || (at > 0 && sizeBytes > REFERRERS_PAGE_BYTES);
  });
  return end < 0 ? entries : entries.slice(0, end);
}
