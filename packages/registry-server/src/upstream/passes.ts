import type { Digest } from "@soci-ts/core";
import type { RawAnswer } from "@soci-ts/registry-client";
import type { RegistryResponse } from "../http.ts";
import { HELD_PASS_MS, MAX_PASSES, PASS_MS } from "./limits.ts";
import type { Records } from "./records.ts";
import { isTrouble, retold, unreachable } from "./relay.ts";
import {
  pullRequest,
  rawRequest,
  readerKey,
  unconditional,
  type Visit,
  visitorOf,
} from "./visit.ts";

/**
 * Who may read what is here of an upstream's repository.
 *
 * Where the companion logs in by itself, everybody who got this far may. Where clients' logins are passed on, the upstream
 * decides: a client that it let read a repository may go on for five minutes, and for a day while the upstream cannot be asked.
 * Only what anybody may read is remembered on the disk. And nobody is given content through a repository that does not have it.
 */
export class Passes {
  readonly #records: Records;
  readonly #patienceMs: number;
  /** When each client was let read each repository; the oldest first. */
  readonly #givenMs = new Map<string, number>();

  constructor(records: Records, patienceMs: number) {
    this.#records = records;
    this.#patienceMs = patienceMs;
  }

  /** Notes what an answer of the upstream to a read says about the client's rights. */
  note(visit: Visit, status: number): void {
    const isAllowed = status === 200 || status === 206;
    // 404 says nothing: some registries say it to whom they do not know.
    if (!visit.upstream.passesLogin || !(isAllowed || isForbidden(status))) return;
    const key = readerKey(visit);
    this.#givenMs.delete(key);
    if (isAllowed) this.#givenMs.set(key, Date.now());
    const [oldest] = this.#givenMs.keys();
    if (this.#givenMs.size > MAX_PASSES && oldest !== undefined) this.#givenMs.delete(oldest);
    if (visitorOf(visit) !== "") return;
    const isOpen = this.#records.isOpen(visit);
    if (isAllowed && !isOpen) this.#records.setOpen(visit, Date.now() + HELD_PASS_MS);
    if (!isAllowed && isOpen) this.#records.setOpen(visit, 0);
  }

  /** True if the client may read the repository while its upstream cannot be asked. */
  isHeld(visit: Visit): boolean {
    if (!visit.upstream.passesLogin) return true;
    const isRecent = this.#ageMs(visit) < HELD_PASS_MS;
    return isRecent || (visitorOf(visit) === "" && this.#records.isOpen(visit));
  }

  /**
   * Whether the client may have what is here; asks the upstream if that is not known: for content that is cached by HEAD, as the
   * repository must have it; for what was pushed here, which the upstream need not have, by the list of tags.
   * @param digest - of content that is cached; undefined for what was pushed here.
   * @returns undefined if it may, else what it is to be told.
   */
  async refusal(visit: Visit, digest?: Digest): Promise<RegistryResponse | undefined> {
    const isKnown = digest === undefined || this.#records.isLinked(visit, digest);
    const isFresh = !visit.upstream.passesLogin || this.#ageMs(visit) < PASS_MS;
    if (isKnown && isFresh) return undefined;
    const isUsable = isKnown && this.isHeld(visit);
    if (isUsable && visit.upstream.isResting) return undefined;
    try {
      const answer = await this.#ask(visit, digest);
      const { status } = answer;
      this.note(visit, status);
      if (digest !== undefined && status === 200) this.#records.link(visit, digest);
      return status === 200 || (isUsable && isTrouble(status)) ? undefined : retold(visit, answer);
    } catch {
      // The upstream has logged why.
      return isUsable ? undefined : unreachable(visit);
    }
  }

  async #ask(visit: Visit, digest: Digest | undefined): Promise<RawAnswer> {
    const headers = unconditional(rawRequest(visit).headers);
    const request =
      digest === undefined
        ? pullRequest(visit, `/v2/${visit.repository}/tags/list?n=1`)
        : rawRequest(visit, { method: "HEAD", headers });
    const answer = await visit.upstream.ask(request, this.#patienceMs);
    answer.close();
    return answer;
  }

  #ageMs(visit: Visit): number {
    return Date.now() - (this.#givenMs.get(readerKey(visit)) ?? Number.NEGATIVE_INFINITY);
  }
}

function isForbidden(status: number): boolean {
  return status === 401 || status === 403;
}
