import { crc32 } from "node:zlib";

/** crc32 of each piece of a sequence of bytes that is cut at given offsets. */
export class RunningChecksums {
  /** Of the pieces that are complete, in order. */
  readonly values: number[] = [];
  readonly #ends: Iterator<number>;
  #end: number | undefined;
  #position = 0;
  #value = 0;

  /** @param ends - where the pieces end, ascending; bytes after the last are left out. */
  constructor(ends: Iterator<number>) {
    this.#ends = ends;
    this.#advance();
  }

  /** Takes the next bytes. */
  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#end !== undefined; ) {
      const part = bytes.subarray(at, at + this.#end - this.#position);
      this.#value = crc32(part, this.#value);
      this.#position += part.length;
      at += part.length;
      if (this.#position !== this.#end) continue;
      this.values.push(this.#value);
      this.#value = 0;
      this.#advance();
    }
  }

  #advance(): void {
    const { done, value } = this.#ends.next();
    this.#end = done ? undefined : value;
  }
}
