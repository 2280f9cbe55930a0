/** Words that a session's process and its FUSE thread share, and notes of what the thread has answered. */
export interface ThreadMemory {
  /** See {@link WORDS}; then one word for each receive buffer: {@link BUFFER_OF_SESSION} or {@link BUFFER_OF_THREAD}. */
  readonly words: Int32Array;
  /** A ring of {@link NOTES} notes: node id, offset, length in bytes, seconds that it took. */
  readonly notes: Float64Array;
}

/** Where each word stands. */
export const WORDS = {
  /** Odd while the thread works on a request; goes up with each. */
  turn: 0,
  /** Goes up with each buffer that the session gives back. */
  givenBack: 1,
  /** Notes written, and read, modulo 2^32. */
  notesWritten: 2,
  notesRead: 3,
  /** 1 if the session wants to be told of the next note. */
  wantsNote: 4,
  firstBuffer: 5,
} as const;

/** The word of a receive buffer that holds a request for the session, or that nobody has given to the thread yet. */
export const BUFFER_OF_SESSION = 0;
/** The word of one that the thread may receive into. */
export const BUFFER_OF_THREAD = 1;

/** Notes that are kept until the session looks; what comes then is the session's to answer. */
export const NOTES = 1024;
/** Numbers of a note. */
export const NOTE_FIELDS = 4;

/** Fresh memory for so many receive buffers, all of them the session's. */
export function makeThreadMemory(buffers: number): ThreadMemory {
  const words = new SharedArrayBuffer((WORDS.firstBuffer + buffers) * Int32Array.BYTES_PER_ELEMENT);
  const notes = new SharedArrayBuffer(NOTES * NOTE_FIELDS * Float64Array.BYTES_PER_ELEMENT);
  return { words: new Int32Array(words), notes: new Float64Array(notes) };
}
