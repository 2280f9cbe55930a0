import { type Credential, isSameCredential } from "./credentials.ts";

/** How long a refused credential comes last. */
const REMEMBERED_MS = 60_000;
const MOST_REPOSITORIES = 1_024;
const MOST_EACH = 8;

interface Refusal {
  readonly credential: Credential;
  readonly untilMs: number;
}

/** What one registry refused lately, by repository: a credential may be good for one and not for another. */
export class RefusedCredentials {
  readonly #refusals = new Map<string, readonly Refusal[]>();

  /** Takes note of a refusal. */
  add(repository: string | undefined, credential: Credential): void {
    const key = repository ?? "";
    const others = this.#lately(key).filter((one) => !isSameCredential(one.credential, credential));
    if (this.#refusals.size >= MOST_REPOSITORIES) this.#refusals.clear();
    const refusal = { credential, untilMs: Date.now() + REMEMBERED_MS };
    this.#refusals.set(key, [...others, refusal].slice(-MOST_EACH));
  }

  /** What was refused in the last minute. */
  of(repository: string | undefined): readonly Credential[] {
    return this.#lately(repository ?? "").map(({ credential }) => credential);
  }

  #lately(key: string): readonly Refusal[] {
    return (this.#refusals.get(key) ?? []).filter(({ untilMs }) => untilMs > Date.now());
  }
}
