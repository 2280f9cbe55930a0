import { AppError, type IoOptions } from "@soci-ts/core";
import { readBody } from "./body.ts";
import { headerValue, nextLink } from "./headers.ts";
import { MAX_PAGES } from "./limits.ts";
import type { RegistryHost, RegistryRequest } from "./registry-host.ts";
import type { Transport, WireResponse } from "./transport.ts";

/** One page of a list. */
export interface Page {
  readonly answer: WireResponse;
  readonly body: Uint8Array;
}

/**
 * The pages of a list that goes on by Link headers (distribution-spec v1.1.1, §Listing Tags, §Listing Referrers). The first
 * page may have any of the expected statuses; the others must be 200.
 * @throws AppError `data_loss` if a link leads away from the registry or there is no end to them.
 */
export async function* readPages(
  registry: RegistryHost,
  transport: Transport,
  request: RegistryRequest,
  options: IoOptions & { readonly maxBytes: number },
): AsyncGenerator<Page, void, undefined> {
  const seen = new Set<string>();
  let next: RegistryRequest | undefined = request;
  while (next !== undefined) {
    const page: Page = await registry.exchange(next, async (answer) => ({
      answer,
      body: await readBody(answer, options.maxBytes, transport),
    }));
    yield page;
    const link = nextLink(headerValue(page.answer.headers, "link"));
    if (link === undefined) return;
    const url = await registry.nextPage(link, page.answer.url, request.action);
    if (url === undefined || seen.has(url.href) || seen.size >= MAX_PAGES) {
      const isOurs = url !== undefined;
      const problem = isOurs ? "it goes round or has no end" : "its next page is elsewhere";
      throw new AppError(
        "data_loss",
        `Cannot ${request.action}: ${problem}, want a list of this registry`,
      );
    }
    seen.add(url.href);
    next = { ...request, target: url, expect: [200] };
  }
}
