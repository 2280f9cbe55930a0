import { type Digest, Digester, digestAlgorithm, displayByteString } from "@soci-ts/core";
import { createTarScan, type TarEntry, type TarScan } from "@soci-ts/tar";
import type { OpenedZtoc } from "../ztoc/decode.ts";
import { compareEntry } from "./compare-entry.ts";
import { type FirstDifference, quoted } from "./difference.ts";

/** Holds a ztoc's file table, and the diffID, against the uncompressed layer as it streams by. */
export class ContentCheck {
  readonly #ztoc: OpenedZtoc;
  readonly #first: FirstDifference;
  readonly #diffId: Digest;
  readonly #digester: Digester;
  readonly #entries: Generator<TarEntry, void>;
  readonly #scan: TarScan;
  #count = 0;

  constructor(ztoc: OpenedZtoc, diffId: Digest, first: FirstDifference) {
    this.#ztoc = ztoc;
    this.#first = first;
    this.#diffId = diffId;
    this.#digester = new Digester(digestAlgorithm(diffId));
    this.#entries = ztoc.readEntries();
    this.#scan = createTarScan({ onEntry: (entry) => this.#takeEntry(entry) });
  }

  /** Entries that were compared. */
  get entryCount(): number {
    return this.#count;
  }

  /** Takes the next bytes of the tar; they may be reused afterwards. @throws FormatError if they are no tar. */
  push(bytes: Uint8Array): void {
    if (this.#first.value !== undefined) return;
    this.#scan.push(bytes);
    this.#digester.update(bytes);
  }

  /** Compares what can be only now: what the ztoc has besides, the tar's length. @throws FormatError if the tar ends early. */
  finish(): void {
    if (this.#first.value !== undefined) return;
    const { endOffset } = this.#scan.finish();
    const { value: extra } = this.#entries.next();
    if (extra !== undefined) {
      this.#first.note({
        part: "entry",
        number: this.#count,
        name: displayByteString(extra.name),
        field: "entry",
        offset: endOffset,
        want: "none",
        have: quoted(extra.name),
      });
    }
    const have = this.#ztoc.uncompressedSizeBytes;
    if (have !== endOffset) {
      const field = "uncompressed_archive_size";
      this.#first.note({ part: "ztoc", field, want: String(endOffset), have: String(have) });
    }
  }

  /** Compares the diffID: what the config says, not the ztoc. */
  finishDigest(): void {
    if (this.#first.value !== undefined) return;
    const want = this.#digester.digest();
    if (want === this.#diffId) return;
    this.#first.note({ part: "content", field: "diffID", want, have: this.#diffId });
  }

  #takeEntry(want: TarEntry): void {
    if (this.#first.value !== undefined) return;
    const number = this.#count;
    this.#count += 1;
    const { value: have } = this.#entries.next();
    if (have !== undefined) {
      const difference = compareEntry(number, want, have);
      if (difference !== undefined) this.#first.note(difference);
      return;
    }
    this.#first.note({
      part: "entry",
      number,
      name: displayByteString(want.name),
      field: "entry",
      offset: want.headerOffset,
      want: quoted(want.name),
      have: "none",
    });
  }
}
