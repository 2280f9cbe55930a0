export { deviceChannel, type FuseChannel } from "./channel.ts";
export { describeRequest } from "./describe.ts";
export { errnoOf, FuseError } from "./errno.ts";
export type {
  Awaitable,
  FuseAttributes,
  FuseDirectoryEntry,
  FuseFileType,
  FuseHandler,
} from "./handler.ts";
export type { Negotiated } from "./init.ts";
export { FUSE_ROOT_ID } from "./protocol.ts";
export { decodeRequest, type FuseRequest } from "./request.ts";
export { FuseSession, type FuseSessionOptions } from "./session.ts";
