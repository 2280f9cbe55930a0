import { type ByteString, displayByteString } from "@soci-ts/core";

/** A place where an index does not say what its layer is. Texts are for people; bytes of the layer in them are escaped. */
export interface IndexDifference {
  /**
   * What differs: `index` the index manifest, `ztoc` the ztoc as a whole, `span` a span with its checkpoint, `entry` a file; `blob` and `content`:
   * the layer itself, compressed and not, is not what manifest and config name; `prefetch` a list of spans to fetch early.
   */
  readonly part: "index" | "ztoc" | "span" | "entry" | "blob" | "content" | "prefetch";
  /** Number of the span or entry, from 0. */
  readonly number?: number;
  /** Name of the entry in the layer, or in the ztoc where the layer has none. */
  readonly name?: string;
  readonly field: string;
  /** Where: for spans and the blob a byte of the blob, for entries and the content a byte of the tar; for a window the byte of it. */
  readonly offset?: number;
  /** What the layer has. */
  readonly want: string;
  /** What is said of it. */
  readonly have: string;
}

/** Longest value that is spelled out. */
const MAX_SHOWN = 240;

/** Keeps the first difference; later ones may follow from it. */
export class FirstDifference {
  #value: IndexDifference | undefined;

  get value(): IndexDifference | undefined {
    return this.#value;
  }

  note(difference: IndexDifference): void {
    this.#value ??= difference;
  }

  /** Puts what explains all others in its place. */
  replace(difference: IndexDifference): void {
    this.#value = difference;
  }
}

/** A value of a tar or ztoc, quoted and short. */
export function quoted(value: ByteString): string {
  const shown = displayByteString(value.slice(0, MAX_SHOWN) as ByteString);
  return value.length <= MAX_SHOWN
    ? `"${shown}"`
    : `"${shown}" and ${value.length - MAX_SHOWN} more bytes`;
}
