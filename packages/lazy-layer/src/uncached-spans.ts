/** Inflated spans that the cache file could not take: the most recently used, up to a limit; the last one always. */
export class UncachedSpans {
  readonly #limitBytes: number;
  readonly #spans = new Map<number, Uint8Array>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(span: number): Uint8Array | undefined {
    const bytes = this.#spans.get(span);
    if (bytes === undefined) return undefined;
    this.#spans.delete(span);
    this.#spans.set(span, bytes);
    return bytes;
  }

  put(span: number, bytes: Uint8Array): void {
    this.delete(span);
    this.#spans.set(span, bytes);
    this.#bytes += bytes.length;
    for (const oldest of this.#spans.keys()) {
      if (this.#bytes <= this.#limitBytes || oldest === span) return;
      this.delete(oldest);
    }
  }

  delete(span: number): void {
    const bytes = this.#spans.get(span);
    if (bytes === undefined) return;
    this.#spans.delete(span);
    this.#bytes -= bytes.length;
  }
}
