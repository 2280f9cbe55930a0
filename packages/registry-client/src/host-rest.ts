import { AppError, type Logger, type Metrics } from "@soci-ts/core";
import { RegistryError, TransportError } from "./errors.ts";

/** How long a host that failed as a whole is asked only when nobody else answers, in milliseconds. */
const HOST_REST_MS = 30_000;

/** Remembers for a while that a host failed as a whole, so that others are asked before it. */
export class HostRest {
  readonly #names: { readonly registry: string; readonly host: string };
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  #rest: { readonly untilMs: number; readonly error: unknown } | undefined;

  constructor(
    names: { readonly registry: string; readonly host: string },
    deps: { readonly logger: Logger; readonly metrics: Metrics },
  ) {
    this.#names = names;
    this.#logger = deps.logger;
    this.#metrics = deps.metrics;
  }

  /** Why the host is left alone for now; undefined if it isn't. */
  get reason(): unknown {
    if (this.#rest !== undefined && this.#rest.untilMs <= Date.now()) this.#rest = undefined;
    return this.#rest?.error;
  }

  /** Takes note that the host answered. */
  noteSuccess(): void {
    this.#rest = undefined;
  }

  /** Takes note of a failure, after which another host is asked; one that is the host's and not the request's makes the host rest. */
  noteFailure(error: unknown): void {
    const fields = { ...this.#names, why: AppError.from(error).message };
    if (!isHostFailure(error)) {
      this.#logger.debug("registry host passed over", fields);
      return;
    }
    this.#metrics.count("soci_registry_host_failures_total");
    if (this.reason === undefined) {
      this.#logger.warn("registry host is left alone for now", { ...fields, forMs: HOST_REST_MS });
    }
    this.#rest = { untilMs: Date.now() + HOST_REST_MS, error };
  }
}

/** True if other requests would fail in the same way: no connection, no trust, an overloaded or broken server. */
function isHostFailure(error: unknown): boolean {
  if (error instanceof RegistryError)
    return error.status === 429 || (error.status >= 500 && error.status !== 501);
  if (error instanceof TransportError) return error.code !== "data_loss";
  return error instanceof AppError && error.code === "failed_precondition";
}
