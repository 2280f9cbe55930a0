import { constants } from "node:os";
import { FuseError } from "./errno.ts";
import type { FuseAttributes, FuseHandler } from "./handler.ts";
import {
  type DirectoryRow,
  directoryRowBytes,
  encodeAttributes,
  encodeDirectory,
  encodeEntry,
  encodeOpen,
  encodeStatfs,
  encodeXattrNames,
  encodeXattrSize,
} from "./reply.ts";
import type { FuseRequest } from "./request.ts";

const { EIO, ENODATA, ENOSYS, ERANGE } = constants.errno;

const NOTHING = new Uint8Array(0);

/** How this mount was negotiated, as far as answers depend on it. */
export interface AnswerOptions {
  readonly signal: AbortSignal;
  /** Memory that the answer to a READ may be put into. */
  readonly into?: Uint8Array | undefined;
  /** The kernel needs no OPEN: told so once (by ENOSYS), it never asks again. */
  readonly noOpen: boolean;
  /** The same for OPENDIR. */
  readonly noOpendir: boolean;
}

/**
 * The payload that answers a request.
 * @throws FuseError, AppError or whatever the handler throws: the session answers with its errno.
 */
export async function answerRequest(
  handler: FuseHandler,
  request: FuseRequest,
  options: AnswerOptions,
): Promise<Uint8Array> {
  const { nodeId } = request;
  switch (request.kind) {
    case "LOOKUP":
      return encodeEntry(await handler.lookup(nodeId, request.name));
    case "GETATTR":
      return encodeAttributes(await handler.getAttributes(nodeId));
    case "READLINK":
      return await handler.readLink(nodeId);
    case "READ":
      return await answerRead(handler, request, options);
    case "READDIR":
    case "READDIRPLUS":
      return await answerReaddir(handler, request);
    case "GETXATTR": {
      const value = await handler.getXattr(nodeId, request.name);
      if (value === undefined) throw new FuseError(ENODATA);
      return xattrReply(value, request.sizeBytes);
    }
    case "LISTXATTR":
      return xattrReply(encodeXattrNames(await handler.listXattrs(nodeId)), request.sizeBytes);
    case "OPEN":
      return openReply(options.noOpen);
    case "OPENDIR":
      return openReply(options.noOpendir);
    case "STATFS":
      return encodeStatfs();
    case "RELEASE":
    case "RELEASEDIR":
    case "ACCESS":
    case "DESTROY":
      return NOTHING;
    case "FLUSH":
    case "unknown":
    case "INIT":
    case "FORGET":
    case "INTERRUPT":
      throw new FuseError(ENOSYS);
  }
}

async function answerRead(
  handler: FuseHandler,
  request: Extract<FuseRequest, { sizeBytes: number; offset: number }>,
  { signal, into }: AnswerOptions,
): Promise<Uint8Array> {
  const options = into === undefined ? { signal } : { signal, into };
  const bytes = await handler.read(request.nodeId, request.offset, request.sizeBytes, options);
  // A longer answer than asked for is a fault of the handler: the kernel would refuse it and the reader hang.
  if (bytes.length > request.sizeBytes) throw new FuseError(EIO, "the handler read too much");
  return bytes;
}

function openReply(unneeded: boolean): Uint8Array {
  if (unneeded) throw new FuseError(ENOSYS);
  return encodeOpen();
}

function xattrReply(value: Uint8Array, sizeBytes: number): Uint8Array {
  if (sizeBytes === 0) return encodeXattrSize(value.length);
  if (value.length > sizeBytes) throw new FuseError(ERANGE);
  return value;
}

async function answerReaddir(
  handler: FuseHandler,
  request: Extract<FuseRequest, { sizeBytes: number; offset: number }>,
): Promise<Uint8Array> {
  const plus = request.kind === "READDIRPLUS";
  const entries = await handler.readDirectory(request.nodeId);
  const rows: DirectoryRow[] = [];
  let room = request.sizeBytes;
  for (let at = request.offset; at < entries.length; at += 1) {
    const entry = entries[at];
    if (entry === undefined) break;
    room -= directoryRowBytes(entry, plus);
    if (room < 0) break;
    const attributes = plus ? await linkedAttributes(handler, entry.name, entry.nodeId) : undefined;
    rows.push({ entry, attributes, nextOffset: at + 1 });
  }
  return encodeDirectory(rows, plus);
}

function linkedAttributes(
  handler: FuseHandler,
  name: string,
  nodeId: number,
): FuseAttributes | Promise<FuseAttributes> | undefined {
  return name === "." || name === ".." ? undefined : handler.getAttributes(nodeId);
}
