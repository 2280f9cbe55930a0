import type { ByteString } from "@soci-ts/core";
import { TAR_ENTRY_TYPES, type TarEntry, type TarEntryType } from "@soci-ts/tar";

/** Entries of a layer, in tar order; an array of them is one. */
export interface EntrySequence extends Iterable<TarEntry> {
  readonly length: number;
  at(index: number): TarEntry | undefined;
  /** Says that entries from this one on will not be asked for again. */
  forget?(from: number): void;
}

const CHUNK_BYTES = 262_144;
/** A number is at most 2^53, which is 8 groups of seven bits. */
const NUMBER_BYTES = 8;
const NO_RECORDS: ReadonlyMap<ByteString, ByteString> = new Map();

/**
 * Many entries in little memory: some 30 bytes each and those of the name, where objects take 400. Each is made anew whenever it
 * is asked for. Strings that recur (owners, PAX keys) are kept once.
 */
export class PackedEntries implements EntrySequence {
  /** Full ones. */
  readonly #chunks: ResizableMemory[] = [];
  /** Where each entry starts: the chunk times 2^32, and the offset in it. */
  #starts = new Float64Array(1024);
  #length = 0;
  readonly #writer = new Writer();
  /** The chunk that was read last: in memory that can be resized single bytes are slow to read, and to write. */
  #copy: { readonly chunk: number; readonly bytes: Buffer } | undefined;

  get length(): number {
    return this.#length;
  }

  /** Adds an entry at the end. */
  push(entry: TarEntry): void {
    const writer = this.#writer;
    const needed = mostBytes(entry);
    if (writer.room < needed) {
      if (writer.at > 0) this.#chunks.push(resizableCopy(writer.memory.subarray(0, writer.at)));
      if (writer.memory.length < needed)
        writer.memory = Buffer.alloc(Math.max(CHUNK_BYTES, needed));
      writer.at = 0;
    }
    if (this.#length === this.#starts.length) {
      const longer = new Float64Array(2 * this.#length);
      longer.set(this.#starts);
      this.#starts = longer;
    }
    this.#starts[this.#length] = this.#chunks.length * 2 ** 32 + writer.at;
    this.#length += 1;
    writer.entry(entry);
  }

  /** The entry at a position from 0 on; undefined beyond the last. */
  at(index: number): TarEntry | undefined {
    const start = index < this.#length ? this.#starts[index] : undefined;
    if (start === undefined) return undefined;
    const bytes = this.#read(Math.floor(start / 2 ** 32));
    return new Reader(bytes, start % 2 ** 32, this.#writer.words).entry();
  }

  /**
   * Gives the memory of chunks that hold nothing but entries from `from` on back to the system at once: a ztoc is written from its last entry
   * to its first, and grows as fast as this shrinks.
   */
  forget(from: number): void {
    const needed = Math.floor((this.#starts[from] ?? 0) / 2 ** 32) + 1;
    this.#length = Math.min(this.#length, from);
    for (const chunk of this.#chunks.splice(needed)) chunk.resize(0);
  }

  *[Symbol.iterator](): Generator<TarEntry> {
    for (let index = 0; index < this.#length; index += 1) {
      const entry = this.at(index);
      if (entry !== undefined) yield entry;
    }
  }

  #read(chunk: number): Buffer {
    const full = this.#chunks[chunk];
    if (full === undefined) return this.#writer.memory;
    if (this.#copy?.chunk !== chunk) this.#copy = { chunk, bytes: Buffer.from(full.slice(0)) };
    return this.#copy.bytes;
  }
}

/** What `ArrayBuffer` can do since ES2024: Node 20 has it, the types that this is compiled with do not. */
type ResizableMemory = ArrayBuffer & { resize(sizeBytes: number): void };

function resizableCopy(bytes: Uint8Array): ResizableMemory {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: { readonly maxByteLength: number },
  ) => ResizableMemory;
  const memory = new Resizable(bytes.length, { maxByteLength: bytes.length });
  new Uint8Array(memory).set(bytes);
  return memory;
}

/** An upper bound of what an entry takes. */
function mostBytes({ name, linkname, paxRecords }: TarEntry): number {
  let bytes = 20 * NUMBER_BYTES + name.length + linkname.length;
  for (const [, value] of paxRecords) bytes += 2 * NUMBER_BYTES + value.length;
  return bytes;
}

class Writer {
  memory: Buffer = Buffer.alloc(0);
  at = 0;
  /** Strings that are written as numbers. */
  readonly words: ByteString[] = [];
  readonly #numbers = new Map<ByteString, number>();

  get room(): number {
    return this.memory.length - this.at;
  }

  entry(entry: TarEntry): void {
    this.#number(TAR_ENTRY_TYPES.indexOf(entry.type));
    this.#number(entry.headerOffset);
    this.#number(entry.dataOffset - entry.headerOffset);
    this.#number(entry.sizeBytes);
    this.#signed(entry.mode);
    this.#number(entry.uid);
    this.#number(entry.gid);
    this.#signed(entry.mtimeSec);
    this.#number(entry.mtimeNsec);
    this.#signed(entry.devmajor);
    this.#signed(entry.devminor);
    this.#word(entry.uname);
    this.#word(entry.gname);
    this.#bytes(entry.name);
    this.#bytes(entry.linkname);
    this.#number(entry.paxRecords.size);
    for (const [key, value] of entry.paxRecords) {
      this.#word(key);
      this.#bytes(value);
    }
  }

  /** Seven bits a byte, the lowest first; the last byte is below 128. */
  #number(value: number): void {
    let left = value;
    while (left >= 128) {
      this.memory[this.at] = 128 + (left % 128);
      this.at += 1;
      left = Math.floor(left / 128);
    }
    this.memory[this.at] = left;
    this.at += 1;
  }

  #signed(value: number): void {
    this.#number(value < 0 ? 1 : 0);
    this.#number(Math.abs(value));
  }

  #word(word: ByteString): void {
    const known = this.#numbers.get(word);
    const number = known ?? this.words.length;
    this.#number(number);
    if (known !== undefined) return;
    this.#numbers.set(word, number);
    this.words.push(word);
  }

  #bytes(text: ByteString): void {
    this.#number(text.length);
    this.at += this.memory.write(text, this.at, "latin1");
  }
}

class Reader {
  readonly #memory: Buffer;
  readonly #words: readonly ByteString[];
  #at: number;

  constructor(memory: Buffer, at: number, words: readonly ByteString[]) {
    this.#memory = memory;
    this.#words = words;
    this.#at = at;
  }

  /** In the order in which they were written: fields of an object are made in the order of the text. */
  entry(): TarEntry {
    const type = TAR_ENTRY_TYPES[this.#number()] as TarEntryType;
    const headerOffset = this.#number();
    return {
      type,
      headerOffset,
      dataOffset: headerOffset + this.#number(),
      sizeBytes: this.#number(),
      mode: this.#signed(),
      uid: this.#number(),
      gid: this.#number(),
      mtimeSec: this.#signed(),
      mtimeNsec: this.#number(),
      devmajor: this.#signed(),
      devminor: this.#signed(),
      uname: this.#word(),
      gname: this.#word(),
      name: this.#bytes(),
      linkname: this.#bytes(),
      paxRecords: this.#records(),
    };
  }

  #records(): ReadonlyMap<ByteString, ByteString> {
    const count = this.#number();
    if (count === 0) return NO_RECORDS;
    const records = new Map<ByteString, ByteString>();
    for (let left = count; left > 0; left -= 1) {
      const key = this.#word();
      records.set(key, this.#bytes());
    }
    return records;
  }

  #number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#memory[this.#at] ?? 0;
      this.#at += 1;
      if (byte < 128) return value + byte * scale;
      value += (byte - 128) * scale;
    }
  }

  #signed(): number {
    const isNegative = this.#number() === 1;
    const value = this.#number();
    return isNegative ? -value : value;
  }

  #word(): ByteString {
    return this.#words[this.#number()] as ByteString;
  }

  #bytes(): ByteString {
    const length = this.#number();
    this.#at += length;
    return this.#memory.toString("latin1", this.#at - length, this.#at) as ByteString;
  }
}
