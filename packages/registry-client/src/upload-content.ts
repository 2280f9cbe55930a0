import { AppError, concatBytes } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";

/** Content to upload, read by offset: bytes at hand, or a stream that is opened again when it must go back. */
export class UploadContent implements AsyncDisposable {
  readonly #content: Uint8Array | (() => AsyncIterable<Uint8Array>);
  readonly #descriptor: Descriptor;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  /** Offset of `#rest` in the content. */
  #at = 0;
  #rest: Uint8Array = new Uint8Array();

  /** @throws AppError `invalid_argument` if bytes have another length than the descriptor says. */
  constructor(content: Uint8Array | (() => AsyncIterable<Uint8Array>), descriptor: Descriptor) {
    this.#content = content;
    this.#descriptor = descriptor;
    if (content instanceof Uint8Array && content.length !== descriptor.size) {
      throw this.#wrongLength(content.length);
    }
  }

  /** Exactly `length` bytes from `offset`; memory is that much and one piece of the stream. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#content instanceof Uint8Array) return this.#content.subarray(offset, offset + length);
    if (offset < this.#at) await this.#rewind();
    const pieces: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#fill())) throw this.#wrongLength(this.#at);
      const skipped = Math.min(this.#rest.length, Math.max(0, offset - this.#at));
      const piece = this.#rest.subarray(skipped, skipped + missing);
      this.#advance(skipped + piece.length);
      missing -= piece.length;
      pieces.push(piece);
    }
    return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : concatBytes(pieces);
  }

  /** @throws AppError `invalid_argument` if there is more than the descriptor says. */
  async verifyEnd(): Promise<void> {
    if (this.#content instanceof Uint8Array) return;
    if (this.#rest.length > 0 || (await this.#fill())) {
      throw this.#wrongLength(this.#at + this.#rest.length);
    }
  }

  /** False at the end of the stream. */
  async #fill(): Promise<boolean> {
    const open = this.#content;
    if (open instanceof Uint8Array) return false;
    this.#iterator ??= open()[Symbol.asyncIterator]();
    for (;;) {
      const next = await this.#iterator.next();
      if (next.done === true) return false;
      if (next.value.length === 0) continue;
      this.#rest = next.value;
      return true;
    }
  }

  #advance(length: number): void {
    this.#rest = this.#rest.subarray(length);
    this.#at += length;
  }

  async #rewind(): Promise<void> {
    await this[Symbol.asyncDispose]();
    this.#at = 0;
    this.#rest = new Uint8Array();
  }

  #wrongLength(length: number): AppError {
    const { digest, size } = this.#descriptor;
    return new AppError(
      "invalid_argument",
      `Cannot push blob ${digest}: its content has ${length} bytes or more, want ${size}`,
    );
  }

  /** Ends the stream that is open, if any. */
  async [Symbol.asyncDispose](): Promise<void> {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    await iterator?.return?.();
  }
}
