import { displayByteString } from "@soci-ts/core";
import type { FuseRequest } from "./request.ts";

/** A request in one line, for debug logs: `READ #18 node 4294967297 offset 0 size 4096`. Names are escaped. */
export function describeRequest(request: FuseRequest): string {
  const head = `${request.kind} #${request.unique} node ${request.nodeId}`;
  switch (request.kind) {
    case "INIT": {
      const { major, minor, flags } = request.offer;
      return `INIT #${request.unique} ${major}.${minor} flags 0x${flags.toString(16)}`;
    }
    case "LOOKUP":
      return `${head} name "${displayByteString(request.name)}"`;
    case "GETXATTR":
      return `${head} name "${displayByteString(request.name)}" size ${request.sizeBytes}`;
    case "READ":
    case "READDIR":
    case "READDIRPLUS":
      return `${head} offset ${request.offset} size ${request.sizeBytes}`;
    case "LISTXATTR":
      return `${head} size ${request.sizeBytes}`;
    case "INTERRUPT":
      return `INTERRUPT of #${request.target}`;
    case "FORGET":
      return `FORGET ${request.nodes} nodes`;
    case "unknown":
      return `opcode ${request.opcode} #${request.unique} node ${request.nodeId}`;
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
      return head;
  }
}
