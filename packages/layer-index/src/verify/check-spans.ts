import type { Checkpoint } from "@soci-ts/gzip";
import { type SpanCut, SpanDigester } from "../span-digester.ts";
import { compressedStartOf } from "../spans.ts";
import type { OpenedZtoc } from "../ztoc/decode.ts";
import type { FirstDifference } from "./difference.ts";

/** Holds a ztoc's span digests against the blob as it streams by. */
export class SpanCheck {
  readonly #ztoc: OpenedZtoc;
  readonly #first: FirstDifference;
  readonly #digester = new SpanDigester();
  #cuts = 0;
  #offset = 0;
  #compared = 0;

  constructor(ztoc: OpenedZtoc, first: FirstDifference) {
    this.#ztoc = ztoc;
    this.#first = first;
  }

  /** Notes where a span starts in the bytes that are pushed next. */
  cut(cut: SpanCut): void {
    this.#digester.cut(cut);
  }

  /** Takes the next bytes of the blob; they may be reused afterwards. */
  push(bytes: Uint8Array): void {
    this.#digester.push(bytes);
    this.#offset += bytes.length;
    this.#compare(this.#digester.ended);
  }

  /** Does what {@link SpanCheck.push} does where nothing is inflated: the ztoc itself says where spans start. */
  pushAsStated(bytes: Uint8Array): void {
    const { spans, checkpoints } = this.#ztoc;
    for (; this.#cuts < spans.length; this.#cuts += 1) {
      const cut = checkpoints[this.#cuts] ?? {
        compressedOffset: spans[this.#cuts]?.compressedStart ?? 0,
        bits: 0,
      };
      if (cut.compressedOffset >= this.#offset + bytes.length) break;
      this.cut(cut);
    }
    this.push(bytes);
  }

  /** Compares the last span, which ends with the blob. */
  finish(): void {
    this.#compare(this.#digester.finish());
  }

  #compare(digests: readonly string[]): void {
    for (; this.#compared < digests.length; this.#compared += 1) {
      const span = this.#ztoc.spans[this.#compared];
      const want = digests[this.#compared] ?? "none";
      const have = span?.digest ?? "none";
      if (want === have) continue;
      const offset = span?.compressedStart ?? 0;
      this.#first.note({
        part: "span",
        number: this.#compared,
        field: "digest",
        offset,
        want,
        have,
      });
    }
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
