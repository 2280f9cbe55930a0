const CHUNK_BYTES = 1_048_576;

/** Bytes that are made when they are asked for, in order. Each piece is good until the next is asked for. */
export interface LazyBytes {
  readonly sizeBytes: number;
  /** May be called more than once. */
  readonly pieces: () => Iterable<Uint8Array>;
}

/** All of them, in one piece. */
export function joined(bytes: LazyBytes): Uint8Array {
  const all = new Uint8Array(bytes.sizeBytes);
  let at = 0;
  for (const piece of bytes.pieces()) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Where something was written: the distance from the end of the FlatBuffer, in bytes. */
export type FlatOffset = number;

interface Vtable {
  readonly offset: FlatOffset;
  /** Size of the table, then its fields' places in it, 0 for those that are absent. */
  readonly words: readonly number[];
}

/**
 * Writes a FlatBuffer from its end to its start, as all builders of the format do: the order of the calls decides the bytes, which are those
 * of Go's builder. Memory is that of what was written, in pieces; large blobs are only made when the pieces are read.
 */
export class FlatWriter implements LazyBytes {
  /** From the end of the buffer to its start. */
  readonly #done: LazyBytes[] = [];
  readonly #vtables: Vtable[] = [];
  #memory: Buffer = Buffer.alloc(0);
  #view = new DataView(this.#memory.buffer);
  /** What is written in the memory starts here. */
  #at = 0;
  /** All that is written: where the next thing will be, but for its padding. */
  #size: FlatOffset = 0;
  #alignment = 1;
  /** Of the table that is being written: where it ends, and where each field is, 0 for none. */
  #tableEnd: FlatOffset = 0;
  readonly #fields: FlatOffset[] = [];

  get sizeBytes(): number {
    return this.#size;
  }

  /** A string of bytes (char codes 0 to 255). */
  string(value: string): FlatOffset {
    const { length } = value;
    this.#room(length + 9);
    this.#pad(4, length + 1);
    // Memory is zeros: the one behind a string is there.
    this.#move(length + 1);
    this.#memory.write(value, this.#at, length, "latin1");
    return this.#uint32(length);
  }

  /** A vector of bytes. */
  blob(bytes: LazyBytes): FlatOffset {
    this.#room(4);
    this.#pad(4, bytes.sizeBytes);
    this.#close();
    this.#done.push(bytes);
    this.#size += bytes.sizeBytes;
    this.#room(4);
    return this.#uint32(bytes.sizeBytes);
  }

  /** A vector of offsets of what is already written. */
  offsets(targets: readonly FlatOffset[]): FlatOffset {
    this.#room(4 * targets.length + 8);
    this.#pad(4, 4 * targets.length);
    for (let i = targets.length - 1; i >= 0; i -= 1) this.#offset(targets[i] ?? 0);
    return this.#uint32(targets.length);
  }

  /** Begins a table; its fields follow, then {@link FlatWriter.endTable}. */
  startTable(fieldCount: number): void {
    // A field with its padding, its word in the vtable; what table and vtable begin with.
    this.#room(fieldCount * 17 + 16);
    this.#tableEnd = this.#size;
    this.#fields.length = 0;
    for (let slot = 0; slot < fieldCount; slot += 1) this.#fields.push(0);
  }

  /** A field that is left out if it has its default. */
  int8(slot: number, value: number, absent: number): void {
    if (value === absent) return;
    this.#pad(1, 0);
    this.#move(1);
    this.#view.setInt8(this.#at, value);
    this.#fields[slot] = this.#size;
  }

  /** A field that is left out if it is 0. */
  int32(slot: number, value: number): void {
    if (value === 0) return;
    this.#pad(4, 0);
    this.#move(4);
    this.#view.setInt32(this.#at, value, true);
    this.#fields[slot] = this.#size;
  }

  /** A field that is left out if it is 0; integers up to 2^53. */
  int64(slot: number, value: number): void {
    if (value === 0) return;
    this.#pad(8, 0);
    this.#move(8);
    const high = Math.floor(value / 2 ** 32);
    this.#view.setUint32(this.#at, value - high * 2 ** 32, true);
    this.#view.setInt32(this.#at + 4, high, true);
    this.#fields[slot] = this.#size;
  }

  /** A field that leads to what is already written. */
  offset(slot: number, target: FlatOffset): void {
    this.#pad(4, 0);
    this.#fields[slot] = this.#offset(target);
  }

  /** Ends the table. Tables that are laid out alike share one vtable. */
  endTable(): FlatOffset {
    this.#pad(4, 0);
    this.#move(4);
    const table = this.#size;
    const tableAt = this.#at;
    const words = this.#tableWords(table);
    const known = this.#vtables.find((it) => equalWords(it.words, words));
    const vtable = known?.offset ?? this.#addVtable(words);
    this.#view.setInt32(tableAt, vtable - table, true);
    return table;
  }

  /** Writes what leads to the root table; nothing may follow. */
  finish(root: FlatOffset): void {
    this.#room(16);
    this.#pad(this.#alignment, 4);
    this.#offset(root);
    this.#close();
  }

  /** All that is written, in order; see {@link LazyBytes}. */
  *pieces(): Generator<Uint8Array> {
    for (const part of this.#done.toReversed()) yield* part.pieces();
  }

  #tableWords(table: FlatOffset): readonly number[] {
    const words = [table - this.#tableEnd];
    const last = this.#fields.findLastIndex((field) => field !== 0);
    for (let slot = 0; slot <= last; slot += 1) {
      const field = this.#fields[slot] ?? 0;
      words.push(field === 0 ? 0 : table - field);
    }
    return words;
  }

  #addVtable(words: readonly number[]): FlatOffset {
    const length = 2 + 2 * words.length;
    this.#move(length);
    this.#view.setUint16(this.#at, length, true);
    for (let i = 0; i < words.length; i += 1) {
      this.#view.setUint16(this.#at + 2 + 2 * i, words[i] ?? 0, true);
    }
    this.#vtables.push({ offset: this.#size, words });
    return this.#size;
  }

  #offset(target: FlatOffset): FlatOffset {
    return this.#uint32(this.#size + 4 - target);
  }

  #uint32(value: number): FlatOffset {
    this.#move(4);
    this.#view.setUint32(this.#at, value, true);
    return this.#size;
  }

  /** Makes what is written a multiple of `alignment` after `length` bytes more. */
  #pad(alignment: number, length: number): void {
    if (alignment > this.#alignment) this.#alignment = alignment;
    this.#move(-(this.#size + length) & (alignment - 1));
  }

  #move(length: number): void {
    this.#at -= length;
    this.#size += length;
  }

  /** Makes sure that so many bytes can be written. */
  #room(length: number): void {
    if (this.#at >= length) return;
    this.#close();
    this.#memory = Buffer.alloc(Math.max(CHUNK_BYTES, length));
    this.#view = new DataView(this.#memory.buffer, this.#memory.byteOffset);
    this.#at = this.#memory.length;
  }

  #close(): void {
    const written = this.#memory.subarray(this.#at);
    if (written.length > 0) {
      this.#done.push({ sizeBytes: written.length, pieces: () => [written] });
    }
    this.#memory = this.#memory.subarray(0, this.#at);
  }
}

function equalWords(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}
