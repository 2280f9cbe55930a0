import {
  AppError,
  type Digest,
  delay,
  digestAlgorithm,
  digestHex,
  type IoOptions,
  type Logger,
  SingleFlight,
} from "@soci-ts/core";
import { type Descriptor, MEDIA_TYPE_OCI_INDEX, parseManifest } from "@soci-ts/oci";
import { RegistryError } from "./errors.ts";
import { fetchManifest, type ManifestName, pushManifest } from "./manifests.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { Transport } from "./transport.ts";

/*
 * The referrers tag is an image index under a tag made of the subject's digest. Registries without the referrers API do not
 * keep it: every client reads, adds and writes it back, and most registries have no conditional write. Two writers that
 * read the same state would lose one entry, so an addition goes like this:
 *
 *   read → add what is missing → write, at once, never on top of a read that is older than a quarter of the settle time
 *        → read again until the settle time has passed since the last write of ours; whatever is missing then, of our
 *          entries and of all that we saw in between, is added again and the time starts anew.
 *
 * Why that loses nothing among writers that keep to it: a write lands less than the settle time S after the read it is made
 * from. A writer puts back all that it has seen, so every state with X's entry also has what X had seen. If at the end A's
 * entry is gone, so are those of everyone who saw it; the last of these to leave found its entry a full S after its own
 * last write, so no write made from an older read could still be under way, and none made from a newer one lacks it.
 */

type RawEntry = Readonly<Record<string, unknown>> & { readonly digest: string };

interface TagState {
  /** The document with all its fields, also those we know nothing of. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly entries: readonly RawEntry[];
  readonly descriptors: readonly Descriptor[];
  readonly digest: Digest;
  readonly etag: string | undefined;
}

/** The tag that lists the referrers of `digest` (distribution-spec v1.1.1, §Referrers Tag Schema). */
export function referrersTag(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest).slice(0, 64)}`;
}

/**
 * The referrers tag as it is; undefined if there is none.
 * @throws AppError `failed_precondition` if the tag is something else than an index.
 */
export async function readReferrersTag(
  registry: RegistryHost,
  transport: Transport,
  repository: string,
  subject: Digest,
  options: IoOptions = {},
): Promise<TagState | undefined> {
  const name: ManifestName = { registry: registry.name, repository, tag: referrersTag(subject) };
  try {
    const { bytes, descriptor, etag } = await fetchManifest(registry, transport, name, options);
    const parsed = parseManifest(bytes, descriptor.mediaType);
    if (parsed.kind !== "index") {
      throw new AppError(
        "failed_precondition",
        `Cannot read referrers from tag ${name.tag} of ${registry.name}/${repository}: it is an image, want an index`,
      );
    }
    // Checked by parseManifest; read once more for the fields that it drops.
    const document = JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;
    const entries = (document["manifests"] ?? []) as readonly RawEntry[];
    const { manifests: descriptors } = parsed.index;
    return { document, entries, descriptors, digest: descriptor.digest, etag };
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) return undefined;
    throw error;
  }
}

/** Times of an addition, in milliseconds. */
export interface SettleOptions {
  /** How long an entry must stay before it counts as kept; raised to three times the slowest write seen. */
  readonly settleMs: number;
}

/** The shortest settle time by default; a write to a registry far away takes less than half of it. */
export const DEFAULT_SETTLE_MS = 1_000;
const LONGEST_SETTLE_MS = 15_000;
const MOST_WRITES = 60;

/** Adds entries to referrers tags. Additions of one process to one tag are made together. */
export class ReferrersTags {
  readonly #transport: Transport;
  readonly #logger: Logger;
  readonly #settleMs: number;
  readonly #flights = new SingleFlight<void>();
  /** What is still to be added, by tag. */
  readonly #wanted = new Map<string, Map<string, RawEntry>>();

  constructor(transport: Transport, logger: Logger, options: SettleOptions) {
    this.#transport = transport;
    this.#logger = logger;
    this.#settleMs = options.settleMs;
  }

  /**
   * Adds `entry` to the referrers of `place`; what others add meanwhile stays. Takes at least the settle time, unless the
   * entry is there already or the registry turns out to check conditions on writing.
   * @throws AppError `aborted` if the entry does not stay.
   */
  async add(
    registry: RegistryHost,
    place: { readonly repository: string; readonly digest: Digest },
    entry: Descriptor,
    options: IoOptions = {},
  ): Promise<void> {
    const key = `${registry.name}/${place.repository}@${place.digest}`;
    const wanted = this.#wanted.get(key) ?? new Map<string, RawEntry>();
    this.#wanted.set(key, wanted);
    wanted.set(entry.digest, rawEntry(entry));
    const work = (signal: AbortSignal): Promise<void> =>
      new TagUpdate(registry, this.#transport, {
        place,
        wanted,
        settleMs: this.#settleMs,
        logger: this.#logger,
        signal,
      }).run();
    // An update that was about to end may not have seen this entry.
    try {
      while (wanted.has(entry.digest)) await this.#flights.do(key, work, options.signal);
    } finally {
      wanted.delete(entry.digest);
      if (wanted.size === 0 && this.#wanted.get(key) === wanted) this.#wanted.delete(key);
    }
  }
}

interface TagUpdateOptions {
  readonly place: { readonly repository: string; readonly digest: Digest };
  /** Entries are taken out when they are there to stay; more may come while the update runs. */
  readonly wanted: Map<string, RawEntry>;
  readonly settleMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** One run of the procedure above. */
class TagUpdate {
  readonly #registry: RegistryHost;
  readonly #transport: Transport;
  readonly #options: TagUpdateOptions;
  /** All entries seen or wanted. */
  readonly #seen = new Map<string, RawEntry>();
  #settleMs: number;
  #writes = 0;
  #lastWriteMs: number | undefined;
  /** Whether the registry has refused a write by its condition, so that it can be trusted to check them. */
  #checksConditions = false;
  #sendsConditions = true;
  /** The state on which the last write was refused. */
  #refused: Digest | undefined;

  constructor(registry: RegistryHost, transport: Transport, options: TagUpdateOptions) {
    this.#registry = registry;
    this.#transport = transport;
    this.#options = options;
    this.#settleMs = options.settleMs;
  }

  async run(): Promise<void> {
    const { wanted, signal } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const readMs = performance.now();
      const state = await this.#read();
      const ours = this.#note(state);
      const missing = this.#missing(state);
      if (missing.length > 0) {
        await this.#mend(state, missing, readMs);
      } else if (this.#isSettled()) {
        for (const digest of ours) wanted.delete(digest);
        return;
      } else {
        await this.#pause(this.#settleMs / 3);
      }
    }
  }

  /** Takes in what a read shows, and what is wanted by now. */
  #note(state: TagState | undefined): readonly string[] {
    // Refused although nothing has changed: its conditions cannot be used.
    if (this.#refused !== undefined && this.#refused === state?.digest) {
      this.#sendsConditions = false;
    }
    for (const entry of state?.entries ?? []) this.#seen.set(entry.digest, entry);
    const ours = [...this.#options.wanted];
    for (const [digest, entry] of ours) {
      if (!this.#seen.has(digest)) this.#seen.set(digest, entry);
    }
    return ours.map(([digest]) => digest);
  }

  async #mend(
    state: TagState | undefined,
    missing: readonly RawEntry[],
    readMs: number,
  ): Promise<void> {
    const { repository, digest } = this.#options.place;
    if (this.#writes >= MOST_WRITES) {
      throw new AppError(
        "aborted",
        `Cannot add to the referrers tag ${referrersTag(digest)} of ${this.#registry.name}/${repository}: others replace it again and again`,
      );
    }
    if (performance.now() - readMs > this.#settleMs / 4) {
      // Too old to write on. Where reading is this slow, writes are too: all must wait longer.
      this.#settleMs = Math.min(LONGEST_SETTLE_MS, this.#settleMs * 2);
      return;
    }
    const isDone = await this.#write(state, missing, readMs);
    this.#refused = isDone ? undefined : state?.digest;
  }

  #read(): Promise<TagState | undefined> {
    const { place, signal } = this.#options;
    return readReferrersTag(this.#registry, this.#transport, place.repository, place.digest, {
      signal,
    });
  }

  #missing(state: TagState | undefined): RawEntry[] {
    const present = new Set(state?.entries.map(({ digest }) => digest));
    return [...this.#seen.values()].filter(({ digest }) => !present.has(digest));
  }

  #isSettled(): boolean {
    if (this.#lastWriteMs === undefined) return true;
    return this.#checksConditions || performance.now() - this.#lastWriteMs > this.#settleMs;
  }

  /** False if the registry refused the condition: then somebody else was first. */
  async #write(
    state: TagState | undefined,
    missing: readonly RawEntry[],
    readMs: number,
  ): Promise<boolean> {
    const { place, signal, logger } = this.#options;
    const { repository } = place;
    this.#writes += 1;
    if (this.#writes > 1)
      logger.info("writing the referrers tag again", { repository, missing: missing.length });
    const tag = referrersTag(place.digest);
    const name: ManifestName = { registry: this.#registry.name, repository, tag };
    const bytes = encodeTag(state, missing);
    const conditions = this.#sendsConditions ? conditionsOn(state) : {};
    const content = { mediaType: MEDIA_TYPE_OCI_INDEX, bytes, conditions };
    try {
      await pushManifest(this.#registry, name, content, { signal });
      this.#lastWriteMs = performance.now();
      this.#settleMs = Math.min(
        LONGEST_SETTLE_MS,
        Math.max(this.#settleMs, 3 * (this.#lastWriteMs - readMs)),
      );
      return true;
    } catch (error) {
      if (error instanceof RegistryError && error.status === 412) {
        this.#checksConditions = true;
        await this.#pause(this.#settleMs / 10);
        return false;
      }
      if (!this.#forgetForeign(state, error)) throw error;
      return true;
    }
  }

  /** Entries put back for others may name manifests that were deleted meanwhile; then only ours are insisted on. */
  #forgetForeign(state: TagState | undefined, error: unknown): boolean {
    if (!(error instanceof RegistryError) || error.status < 400 || error.status >= 500)
      return false;
    const present = new Set(state?.entries.map(({ digest }) => digest));
    const foreign = [...this.#seen.keys()].filter(
      (digest) => !present.has(digest) && !this.#options.wanted.has(digest),
    );
    for (const digest of foreign) this.#seen.delete(digest);
    return foreign.length > 0;
  }

  /** Half to one and a half times as long: writers that met once do not meet again. */
  #pause(meanMs: number): Promise<void> {
    return delay(meanMs * (0.5 + Math.random()), this.#options.signal);
  }
}

function rawEntry(entry: Descriptor): RawEntry {
  const { mediaType, digest, size, annotations, artifactType } = entry;
  return { mediaType, digest, size, annotations, artifactType };
}

/** Fields and entries of others are written back as they were. */
function encodeTag(state: TagState | undefined, missing: readonly RawEntry[]): Uint8Array {
  const fresh = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX };
  const entries = new Map((state?.entries ?? []).map((entry) => [entry.digest, entry]));
  for (const entry of missing) entries.set(entry.digest, entry);
  const document = { ...fresh, ...state?.document, manifests: [...entries.values()] };
  return Buffer.from(JSON.stringify({ ...document, mediaType: MEDIA_TYPE_OCI_INDEX }));
}

function conditionsOn(state: TagState | undefined): Readonly<Record<string, string>> {
  if (state === undefined) return { "if-none-match": "*" };
  // A weak tag never matches in If-Match (RFC 9110 §13.1.1).
  const isUsable = state.etag !== undefined && !state.etag.startsWith("W/");
  return isUsable ? { "if-match": state.etag ?? "" } : {};
}
