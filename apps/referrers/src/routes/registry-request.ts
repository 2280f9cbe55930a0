import type { RegistryRequest } from "@soci-ts/registry-server";
import type { FastifyRequest } from "fastify";
import { atMinimumRate } from "./minimum-rate.ts";

/** A request as the registry takes it: target and headers as they came, the body as a stream that must not dawdle. */
export function registryRequest({ method, raw }: FastifyRequest): RegistryRequest {
  return {
    method,
    url: raw.url ?? "",
    headers: raw.headers,
    // Leaving the loop early must not destroy the connection: the answer is still to be sent on it.
    body: atMinimumRate(raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>),
    peer: {
      address: raw.socket.remoteAddress ?? "unknown",
      isSecure: "encrypted" in raw.socket,
    },
  };
}
