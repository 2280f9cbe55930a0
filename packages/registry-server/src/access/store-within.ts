import { AppError } from "@soci-ts/core";
import {
  contentLengthOf,
  noBody,
  type RegistryRequest,
  type RegistryResponse,
  splitTarget,
} from "../http.ts";
import type { Route } from "../route.ts";
import { errorResponse, SpecError } from "../spec-error.ts";
import type { RegistryHandler } from "./guard.ts";
import { type Allowance, metered } from "./quotas.ts";

/**
 * Lets the handler store a request's body as far as the allowance goes. An upload that does not fit is given up: it would only hold
 * bytes that can never become a blob.
 */
export async function storeWithin(
  allowance: Allowance,
  handler: RegistryHandler,
  { request, route }: { readonly request: RegistryRequest; readonly route: Route },
): Promise<RegistryResponse> {
  let refusal: SpecError | undefined;
  let response: RegistryResponse | undefined;
  const take = (sizeBytes: number): void => {
    refusal ??= refusalOf(() => allowance.take(sizeBytes));
    if (refusal !== undefined) throw refusal;
  };
  refusal = refusalOf(() => allowance.expect(contentLengthOf(request) ?? 0));
  if (refusal === undefined) {
    response = await handler.handle({ ...request, body: metered(request.body, take) });
  }
  if (refusal !== undefined && route.kind === "upload") {
    const { path: url } = splitTarget(request.url);
    await handler.handle({ ...request, method: "DELETE", url, body: noBody() });
  }
  return response ?? errorResponse(refusal ?? new AppError("internal", "There is no answer"));
}

function refusalOf(take: () => void): SpecError | undefined {
  try {
    take();
    return undefined;
  } catch (error) {
    if (error instanceof SpecError) return error;
    throw error;
  }
}
