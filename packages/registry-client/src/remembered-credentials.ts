import { hostNames } from "./credential-names.ts";
import {
  type Credential,
  type CredentialSource,
  type FindCredentialOptions,
  isRefused,
} from "./credentials.ts";

/** Most credentials that are kept; the oldest goes first. */
const MOST_KEPT = 4_096;

/**
 * Credentials that were given to us, as kubelet gives them with each pull. Kept in memory only, by registry and repository: the
 * longest repository prefix decides, and of the same one the newest. Shows nothing of them when it is printed.
 */
export class RememberedCredentials implements CredentialSource {
  /** By `registry/repository/`; in the order in which they came. */
  readonly #credentials = new Map<string, Credential>();

  /** How many are kept. */
  get count(): number {
    return this.#credentials.size;
  }

  /** Keeps a credential for a repository and those below it or, without one, for the whole registry. */
  put(registry: string, repository: string | undefined, credential: Credential): void {
    const key = keyOf(registry, repository);
    this.#credentials.delete(key);
    this.#credentials.set(key, credential);
    for (const oldest of this.#credentials.keys()) {
      if (this.#credentials.size <= MOST_KEPT) break;
      this.#credentials.delete(oldest);
    }
  }

  /** Forgets what was kept for exactly that. Nothing happens if there is nothing. */
  forget(registry: string, repository: string | undefined): void {
    this.#credentials.delete(keyOf(registry, repository));
  }

  /** See {@link CredentialSource.find}. */
  async find(
    registry: string,
    repository: string | undefined,
    options?: FindCredentialOptions,
  ): Promise<Credential | undefined> {
    const components = repository?.split("/") ?? [];
    for (let depth = components.length; depth >= 0; depth--) {
      const prefix = depth === 0 ? undefined : components.slice(0, depth).join("/");
      const credential = this.#credentials.get(keyOf(registry, prefix));
      if (credential !== undefined && !isRefused(credential, options)) return credential;
    }
    return undefined;
  }
}

function keyOf(registry: string, repository: string | undefined): string {
  const [name = registry] = hostNames(registry);
  return repository === undefined ? name : `${name}/${repository}`;
}
