import { type ByteString, byteStringFrom, FormatError } from "@soci-ts/core";
import type { InitOffer } from "./init.ts";
import { opcodeName, REQUEST_BUFFER_BYTES } from "./protocol.ts";
import { decodeStruct } from "./struct.ts";
import {
  FUSE_BATCH_FORGET_IN,
  FUSE_FORGET_IN,
  FUSE_FORGET_ONE,
  FUSE_GETXATTR_IN,
  FUSE_IN_HEADER,
  FUSE_INIT_IN,
  FUSE_INIT_IN_EXT,
  FUSE_INTERRUPT_IN,
  FUSE_READ_IN,
} from "./structs.ts";

/** What every request has. */
export interface RequestHeader {
  /** Names the request in its reply, bit for bit (bit 63 marks a resent one). */
  readonly unique: bigint;
  /** The node it is about; 0 where it is about none. */
  readonly nodeId: number;
}

/** A decoded request. It holds no reference to the buffer it came in. */
export type FuseRequest = RequestHeader &
  (
    | { readonly kind: "INIT"; readonly offer: InitOffer }
    | { readonly kind: "LOOKUP"; readonly name: ByteString }
    | {
        readonly kind: "READ" | "READDIR" | "READDIRPLUS";
        readonly offset: number;
        readonly sizeBytes: number;
      }
    | { readonly kind: "GETXATTR"; readonly name: ByteString; readonly sizeBytes: number }
    | { readonly kind: "LISTXATTR"; readonly sizeBytes: number }
    | { readonly kind: "INTERRUPT"; readonly target: bigint }
    | { readonly kind: "FORGET"; readonly nodes: number }
    | {
        readonly kind:
          | "GETATTR"
          | "READLINK"
          | "OPEN"
          | "OPENDIR"
          | "RELEASE"
          | "RELEASEDIR"
          | "STATFS"
          | "FLUSH"
          | "ACCESS"
          | "DESTROY";
      }
    | { readonly kind: "unknown"; readonly opcode: number }
  );

/**
 * Decodes one message from `/dev/fuse`. Numbers that we do not know become `unknown`, so that newer kernels get ENOSYS.
 * @throws FormatError with the offset in the message if it is cut short, has a length that is not its own, or a name that has no
 *   end or has two.
 */
export function decodeRequest(message: Uint8Array): FuseRequest {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const header = decodeStruct(FUSE_IN_HEADER, view, 0);
  if (header.len !== message.length || message.length > REQUEST_BUFFER_BYTES) {
    throw new FormatError(
      "FUSE message",
      0,
      `its length field is ${header.len}, want ${message.length}`,
    );
  }
  if (header.total_extlen !== 0) {
    throw new FormatError("FUSE message", 36, "it has extensions, want none: none was negotiated");
  }
  const base = { unique: header.unique, nodeId: header.nodeid };
  return decodeBody(header.opcode, base, view, message);
}

/** The `unique` of a message whose header is whole, for the answer to one that can't be decoded. */
export function peekUnique(message: Uint8Array): bigint | undefined {
  if (message.length < FUSE_IN_HEADER.sizeBytes) return undefined;
  return new DataView(message.buffer, message.byteOffset, message.byteLength).getBigUint64(8, true);
}

/** The request number of a message whose header is whole. */
export function peekOpcode(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(4, true);
}

const BODY = FUSE_IN_HEADER.sizeBytes;

function decodeBody(
  opcode: number,
  base: RequestHeader,
  view: DataView,
  message: Uint8Array,
): FuseRequest {
  const kind = opcodeName(opcode);
  switch (kind) {
    case undefined:
      return { ...base, kind: "unknown", opcode };
    case "INIT":
      return { ...base, kind, offer: decodeInit(view) };
    case "LOOKUP":
      return { ...base, kind, name: decodeName(message, BODY) };
    case "READ":
    case "READDIR":
    case "READDIRPLUS": {
      const { offset, size } = decodeStruct(FUSE_READ_IN, view, BODY);
      return { ...base, kind, offset, sizeBytes: size };
    }
    case "GETXATTR": {
      const { size } = decodeStruct(FUSE_GETXATTR_IN, view, BODY);
      return {
        ...base,
        kind,
        name: decodeName(message, BODY + FUSE_GETXATTR_IN.sizeBytes),
        sizeBytes: size,
      };
    }
    case "LISTXATTR":
      return { ...base, kind, sizeBytes: decodeStruct(FUSE_GETXATTR_IN, view, BODY).size };
    case "INTERRUPT":
      return { ...base, kind, target: decodeStruct(FUSE_INTERRUPT_IN, view, BODY).unique };
    case "FORGET":
      decodeStruct(FUSE_FORGET_IN, view, BODY);
      return { ...base, kind, nodes: 1 };
    case "BATCH_FORGET":
      return { ...base, kind: "FORGET", nodes: decodeBatchForget(view) };
    case "GETATTR":
    case "READLINK":
    case "OPEN":
    case "OPENDIR":
    case "RELEASE":
    case "RELEASEDIR":
    case "STATFS":
    case "FLUSH":
    case "ACCESS":
    case "DESTROY":
      return { ...base, kind };
  }
}

function decodeInit(view: DataView): InitOffer {
  const { major, minor, max_readahead, flags } = decodeStruct(FUSE_INIT_IN, view, BODY);
  const extension = BODY + FUSE_INIT_IN.sizeBytes;
  const hasExtension = view.byteLength > extension;
  const flags2 = hasExtension ? decodeStruct(FUSE_INIT_IN_EXT, view, extension).flags2 : 0;
  return {
    major,
    minor,
    maxReadaheadBytes: max_readahead,
    flags: (BigInt(flags2) << 32n) | BigInt(flags),
  };
}

function decodeBatchForget(view: DataView): number {
  const { count } = decodeStruct(FUSE_BATCH_FORGET_IN, view, BODY);
  const want = BODY + FUSE_BATCH_FORGET_IN.sizeBytes + count * FUSE_FORGET_ONE.sizeBytes;
  if (view.byteLength !== want) {
    throw new FormatError(
      "FUSE message",
      BODY,
      `it forgets ${count} nodes in ${view.byteLength} bytes, want ${want}`,
    );
  }
  return count;
}

/** A name that fills the message up to its one zero byte at the end. */
function decodeName(message: Uint8Array, start: number): ByteString {
  const end = message.length - 1;
  const zero = message.indexOf(0, start);
  if (zero !== end || end <= start) {
    throw new FormatError(
      "FUSE message",
      start,
      "its name is empty, unterminated or has a zero inside",
    );
  }
  return byteStringFrom(message.subarray(start, end));
}
