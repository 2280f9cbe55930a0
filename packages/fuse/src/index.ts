export { blockingChannel, deviceChannel, type FuseChannel } from "./channel.ts";
export { errnoOf, FuseError } from "./errno.ts";
export {
  type FuseThreadOptions,
  runFuseThread,
  type ThreadMessage,
  type ThreadRead,
} from "./fuse-thread.ts";
export type {
  Awaitable,
  FuseAttributes,
  FuseDirectoryEntry,
  FuseFileType,
  FuseHandler,
} from "./handler.ts";
export { formatNegotiated, type Negotiated, parseNegotiated } from "./init.ts";
export { type JournalMemory, type PredecessorEnd, RequestJournal } from "./journal.ts";
export { JOURNAL_BYTES, JOURNAL_HEADER, refuseNewerJournal } from "./journal-format.ts";
export { READ_BUFFER_BYTES } from "./read-buffers.ts";
export { type RehearsedRead, rehearsalChannel } from "./rehearsal.ts";
export type { PageRange } from "./reply.ts";
export type { FuseRequest } from "./request.ts";
export { FuseSession, type FuseSessionOptions } from "./session.ts";
export { ThreadChannel, type ThreadChannelOptions, type ThreadNote } from "./thread-channel.ts";
export { makeThreadMemory, type ThreadMemory } from "./thread-memory.ts";
