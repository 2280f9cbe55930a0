import { AppError } from "@soci-ts/core";
import { RegistryError, TransportError } from "./errors.ts";
import type { RegistryHost } from "./registry-host.ts";
import { isTransient } from "./retry.ts";

/**
 * One walk over a registry's hosts, until one gives what is wanted. Hosts come in the order of the file; those that rest come
 * last, and not at all once another host has answered, so that a dead one does not cost every request its time-out.
 */
export class HostTour {
  readonly #hosts: readonly RegistryHost[];
  readonly #left: RegistryHost[];
  readonly #failures = new Map<RegistryHost, unknown>();
  #hasAnswer = false;
  #hasPassedOver = false;

  /**
   * @param hosts - at least one, in the order of the file.
   * @param order - what to try first of them, and what last.
   */
  constructor(
    hosts: readonly RegistryHost[],
    order: { readonly first?: RegistryHost | undefined; readonly last?: RegistryHost | undefined },
  ) {
    this.#hosts = hosts;
    const rank = (host: RegistryHost): number => {
      if (host.rest.reason !== undefined) return 3;
      if (host === order.last) return 2;
      return host === order.first ? 0 : 1;
    };
    this.#left = [...hosts].sort((a, b) => rank(a) - rank(b));
  }

  /** The next host to ask; undefined if there is none left. */
  next(): RegistryHost | undefined {
    for (let host = this.#left.shift(); host !== undefined; host = this.#left.shift()) {
      const reason = host.rest.reason;
      if (reason === undefined || !this.#hasAnswer) return host;
      this.#failures.set(host, reason);
      this.#hasPassedOver = true;
    }
    return undefined;
  }

  /** Takes note that a host has answered that it has nothing. */
  noteNothing(host: RegistryHost): void {
    this.#hasAnswer = true;
    host.rest.noteSuccess();
  }

  /** Takes note of a host's failure. */
  noteFailure(host: RegistryHost, error: unknown): void {
    this.#failures.set(host, error);
    if (error instanceof RegistryError && !isTransient(error, "always")) this.#hasAnswer = true;
    if (this.#hosts.length > 1) host.rest.noteFailure(error);
  }

  /** False if asking all of them again would ask only those that have answered. */
  get isWorthRepeating(): boolean {
    return !this.#hasPassedOver;
  }

  /**
   * The failure of the whole: the server's, or that of the last host that has one; it names the others too. The error itself
   * if there is one host only.
   * @param prefer - `transient`: one that may pass, if there is any.
   */
  failure(prefer: "server" | "transient"): unknown {
    const failed = this.#hosts.filter((host) => this.#failures.has(host));
    const errors = failed.map((host) => this.#failures.get(host));
    const passing = errors.find((error) => isTransient(error, "always"));
    const main = (prefer === "transient" ? passing : undefined) ?? errors.at(-1);
    const others = failed
      .filter((host) => this.#failures.get(host) !== main)
      .map((host) => `${host.shownName} (${reasonOf(this.#failures.get(host))})`);
    return others.length === 0 ? main : withOthers(main, others.join(", "));
  }
}

/** What a message says after "Cannot …:". */
function reasonOf(error: unknown): string {
  if (error instanceof RegistryError) return `the answer is ${error.status}`;
  const { message } = AppError.from(error);
  const colon = message.indexOf(": ");
  return message.slice(colon < 0 ? 0 : colon + 2);
}

/** The same kind of error, which also says what the other hosts did. */
function withOthers(error: unknown, others: string): Error {
  const { code, message } = AppError.from(error);
  const text = `${message}; other hosts failed too: ${others}`;
  if (error instanceof RegistryError) return error.withMessage(text);
  if (error instanceof TransportError) {
    return new TransportError(code, text, { sent: error.sent, cause: error });
  }
  return new AppError(code, text, { cause: error });
}
