import { AppError, FormatError, type IoOptions } from "@soci-ts/core";
import { LIST_PAGE_LIMIT_BYTES, MAX_LIST_LENGTH } from "./limits.ts";
import { readPages } from "./pages.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { Transport } from "./transport.ts";

const PAGE_LENGTH = 1000;

/** All tags of a repository, in the registry's order. */
export async function listTags(
  registry: RegistryHost,
  transport: Transport,
  repository: string,
  options: IoOptions = {},
): Promise<string[]> {
  const request = {
    action: `list the tags of ${registry.name}/${repository}`,
    method: "GET",
    target: `/v2/${repository}/tags/list?n=${PAGE_LENGTH}`,
    headers: { accept: "application/json" },
    expect: [200],
    repository,
    scopes: [`repository:${repository}:pull`],
    signal: options.signal,
  } as const;
  const tags: string[] = [];
  const limits = { ...options, maxBytes: LIST_PAGE_LIMIT_BYTES };
  for await (const page of readPages(registry, transport, request, limits)) {
    for (const tag of parseTagList(page.body)) tags.push(tag);
    if (tags.length > MAX_LIST_LENGTH) {
      throw new AppError(
        "resource_exhausted",
        `Cannot ${request.action}: there are more than ${MAX_LIST_LENGTH}`,
      );
    }
  }
  return tags;
}

function parseTagList(body: Uint8Array): string[] {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    // V8's message quotes the text; the check below says what was wanted.
  }
  const tags = (document as { tags?: unknown } | null | undefined)?.tags;
  if (tags === null) return [];
  if (!Array.isArray(tags) || !tags.every(isTag)) {
    throw new FormatError("tag list", 0, 'it is no JSON object whose "tags" are tags, want one');
  }
  return tags;
}

function isTag(value: unknown): value is string {
  return typeof value === "string" && /^\w[\w.-]{0,127}$/.test(value);
}
