import { Digester } from "@soci-ts/core";
import type { Checkpoint } from "@soci-ts/gzip";
import { compressedStartOf } from "../spans.ts";
import type { OpenedZtoc } from "../ztoc/decode.ts";
import type { FirstDifference } from "./difference.ts";

/** Where a span starts. */
type SpanStart = Pick<Checkpoint, "compressedOffset" | "bits">;

/**
 * Holds a ztoc's span digests against the blob as it streams by. A span goes from the byte that its checkpoint lies in to the byte that
 * the next one lies in, that byte included: so both spans take it in.
 */
export class SpanCheck {
  readonly #ztoc: OpenedZtoc;
  readonly #first: FirstDifference;
  #starts: SpanStart[] = [];
  #current: Digester | undefined;
  /** Number of the span that {@link #current} is of. */
  #number = -1;
  /** Blob offset of the next piece. */
  #offset = 0;
  /** The byte before it, which a checkpoint at its very start may lie in. */
  readonly #lastByte = new Uint8Array(1);

  constructor(ztoc: OpenedZtoc, first: FirstDifference) {
    this.#ztoc = ztoc;
    this.#first = first;
  }

  /** Notes where a span starts in the piece that is pushed next, or at its start; in order. */
  start(span: SpanStart): void {
    this.#starts.push(span);
  }

  /** Notes the same where nothing is inflated: the ztoc itself says where spans start. */
  startAsStated(piece: Uint8Array): void {
    const { spans, checkpoints } = this.#ztoc;
    for (let at = this.#number + 1; at < spans.length; at += 1) {
      const start = spans[at]?.compressedStart ?? 0;
      const span = checkpoints[at] ?? { compressedOffset: start, bits: 0 };
      if (span.compressedOffset >= this.#offset + piece.length) break;
      this.start(span);
    }
  }

  /** Takes the next bytes of the blob; they may be reused afterwards. */
  push(piece: Uint8Array): void {
    let at = 0;
    for (const { compressedOffset, bits } of this.#starts) {
      const startAt = compressedOffset - this.#offset;
      this.#current?.update(piece.subarray(at, startAt));
      this.#endSpan();
      this.#number += 1;
      this.#current = new Digester();
      if (bits !== 0) {
        this.#current.update(startAt === 0 ? this.#lastByte : piece.subarray(startAt - 1, startAt));
      }
      at = startAt;
    }
    this.#starts = [];
    this.#current?.update(piece.subarray(at));
    this.#lastByte[0] = piece.at(-1) ?? 0;
    this.#offset += piece.length;
  }

  /** Compares the last span, which ends with the blob. */
  finish(): void {
    this.#endSpan();
  }

  #endSpan(): void {
    if (this.#current === undefined) return;
    const number = this.#number;
    const span = this.#ztoc.spans[number];
    const want = this.#current.digest();
    this.#current = undefined;
    const have = span?.digest ?? "none";
    if (want === have) return;
    const offset = span?.compressedStart ?? 0;
    this.#first.note({ part: "span", number, field: "digest", offset, want, have });
  }
}

/** Holds a ztoc's checkpoints against those that a scan finds, one after the other. */
export class CheckpointCheck {
  readonly #want: readonly Checkpoint[];
  readonly #first: FirstDifference;
  #count = 0;

  constructor(ztoc: OpenedZtoc, first: FirstDifference) {
    this.#want = ztoc.checkpoints;
    this.#first = first;
  }

  /** Takes what the layer has next. */
  take(want: Checkpoint): void {
    const number = this.#count;
    this.#count += 1;
    const have = this.#want[number];
    const at = { part: "span", number, offset: compressedStartOf(want) } as const;
    if (have === undefined) {
      this.#first.note({ ...at, field: "checkpoint", want: showPlace(want), have: "none" });
      return;
    }
    const fields = [
      ["compressed offset", want.compressedOffset, have.compressedOffset],
      ["uncompressed offset", want.uncompressedOffset, have.uncompressedOffset],
      ["bits", want.bits, have.bits],
    ] as const;
    for (const [field, wanted, had] of fields) {
      if (wanted === had) continue;
      this.#first.note({ ...at, field, want: String(wanted), have: String(had) });
    }
    this.#compareWindow(number, want.window, have.window);
  }

  /** Notes a checkpoint that the layer does not have. */
  finish(): void {
    const have = this.#want[this.#count];
    if (have === undefined) return;
    this.#first.note({
      part: "span",
      number: this.#count,
      field: "checkpoint",
      offset: compressedStartOf(have),
      want: "none",
      have: showPlace(have),
    });
  }

  #compareWindow(number: number, want: Uint8Array, have: Uint8Array): void {
    if (Buffer.compare(want, have) === 0) return;
    const offset = want.findIndex((byte, at) => byte !== have[at]);
    this.#first.note({
      part: "span",
      number,
      field: "window",
      offset,
      want: showByte(want[offset]),
      have: showByte(have[offset]),
    });
  }
}

function showPlace({ compressedOffset, uncompressedOffset, bits }: Checkpoint): string {
  return `compressed offset ${compressedOffset}, uncompressed offset ${uncompressedOffset}, bits ${bits}`;
}

function showByte(byte: number | undefined): string {
  return `0x${(byte ?? 0).toString(16).padStart(2, "0")}`;
}
