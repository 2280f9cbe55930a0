import { AppError, type IoOptions } from "@soci-ts/core";
import { HostTour } from "./host-tour.ts";
import type { HostCapability, HostsConfig, HostsSource } from "./hosts.ts";
import { OWN_SERVER, RegistryHost, type RegistryHostDeps } from "./registry-host.ts";
import { Backoff, type RetryPolicy } from "./retry.ts";

/** What all registries of one client share. */
export interface RegistryDeps extends RegistryHostDeps {
  readonly retry: RetryPolicy;
  /** Undefined: each registry is its own and only host. */
  readonly hosts: HostsSource | undefined;
}

/** Something that is read from whichever host has it. */
export interface Question<T> extends IoOptions {
  readonly needs: HostCapability;
  /** Completes "Cannot …" in errors. */
  readonly action: string;
  /** False for an answer that another host may know better ("there is none"); the server's counts in the end. Default: all are answers. */
  readonly isAnswer?: (value: T) => boolean;
}

/** The hosts of a registry as long as its configuration stays the same. */
interface Crew {
  readonly config: HostsConfig | undefined;
  readonly readers: readonly RegistryHost[];
  /** Apart from the readers, which do not repeat requests where another host may be asked instead. */
  readonly pusher: RegistryHost | undefined;
}

/**
 * One registry: its hosts, which are asked in order until one gives what is wanted. A host that fails as a whole rests for a
 * while. What is pushed goes to one host only.
 */
export class Registry {
  readonly name: string;
  readonly #deps: RegistryDeps;
  #crew: Crew | undefined;

  constructor(name: string, deps: RegistryDeps) {
    this.name = name;
    this.#deps = deps;
  }

  /**
   * The hosts that may be asked for something, in the order of the file.
   * @throws AppError `failed_precondition` if there is none, or if the configuration cannot be used.
   */
  async hosts(
    needs: HostCapability,
    action: string,
  ): Promise<readonly [RegistryHost, ...RegistryHost[]]> {
    const { config, readers } = await this.#current();
    const [first, ...others] = readers.filter((host) => host.config.capabilities.has(needs));
    if (first === undefined) throw this.#nobody(needs, action, config);
    return [first, ...others];
  }

  /** The host to push to: the first that may be. */
  async pusher(action: string): Promise<RegistryHost> {
    const { config, pusher } = await this.#current();
    if (pusher === undefined) throw this.#nobody("push", action, config);
    return pusher;
  }

  /**
   * Asks the hosts in turn. Where there are several, each is asked once, then all of them again as the retry policy says.
   * @throws what the only host's `ask` throws; with several an error of the server's kind that names them all.
   */
  async ask<T>(question: Question<T>, ask: (host: RegistryHost) => Promise<T>): Promise<T> {
    const { needs, action, signal } = question;
    const backoff = new Backoff(this.#deps.retry);
    for (;;) {
      const hosts = await this.hosts(needs, action);
      if (hosts.length === 1) return ask(hosts[0]);
      const tour = new HostTour(hosts, {});
      const found = await this.#askInTurn(question, ask, { hosts, tour });
      if (found !== undefined) return found.value;
      const error = tour.failure("server");
      if (!tour.isWorthRepeating) throw error;
      await backoff.wait(error, "always", signal);
      this.#deps.metrics.count("soci_registry_retries_total");
    }
  }

  /** Undefined if the server gave no answer, and nobody else a good one. */
  async #askInTurn<T>(
    question: Question<T>,
    ask: (host: RegistryHost) => Promise<T>,
    walk: { readonly hosts: readonly RegistryHost[]; readonly tour: HostTour },
  ): Promise<{ readonly value: T } | undefined> {
    const { hosts, tour } = walk;
    const server = hosts.at(-1);
    let last: { readonly value: T } | undefined;
    for (let host = tour.next(); host !== undefined; host = tour.next()) {
      try {
        const value = await ask(host);
        host.rest.noteSuccess();
        if (question.isAnswer?.(value) ?? true) return { value };
        tour.noteNothing(host);
        if (host === server) last = { value };
      } catch (error) {
        question.signal?.throwIfAborted();
        tour.noteFailure(host, error);
      }
    }
    return last;
  }

  async #current(): Promise<Crew> {
    const config = await this.#deps.hosts?.hostsFor(this.name);
    const known = this.#crew;
    if (known !== undefined && known.config === config) return known;
    const crew = this.#muster(config);
    this.#crew = crew;
    for (const host of known?.readers ?? []) {
      const { connection } = host.config;
      if (connection !== undefined) this.#deps.transport.forget(connection);
    }
    return crew;
  }

  #muster(config: HostsConfig | undefined): Crew {
    const { retry } = this.#deps;
    const configs = config?.hosts ?? [OWN_SERVER];
    const registry = this.name;
    const make = (
      host: HostsConfig["hosts"][number],
      policy: RetryPolicy,
      hasOthers: boolean,
    ): RegistryHost =>
      new RegistryHost({ registry, config: host, retry: policy, hasOthers }, this.#deps);
    const pushConfig = configs.find((host) => host.capabilities.has("push"));
    const [only, ...others] = configs;
    if (only !== undefined && others.length === 0) {
      const host = make(only, retry, false);
      return { config, readers: [host], pusher: pushConfig && host };
    }
    const readers = configs.map((host) => make(host, { ...retry, attempts: 1 }, true));
    return { config, readers, pusher: pushConfig && make(pushConfig, retry, false) };
  }

  #nobody(needs: HostCapability, action: string, config: HostsConfig | undefined): AppError {
    const where = config?.source ?? "the configuration";
    return new AppError(
      "failed_precondition",
      `Cannot ${action}: no host of ${this.name} in ${where} has the capability "${needs}", want one`,
    );
  }
}
