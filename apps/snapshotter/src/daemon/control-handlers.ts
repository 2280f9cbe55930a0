import type { JsonValue, LocalHandlers } from "@soci-ts/snapshotter";
import type { Daemon } from "./daemon.ts";
import { explainDocument, statusDocument } from "./documents.ts";

/** What the daemon answers on its control socket. `end` makes it end; mounts that nobody uses go with it. */
export function controlHandlers(daemon: Daemon, end: () => void): LocalHandlers {
  return {
    ping: async () => process.pid,
    status: async () => toJson(await statusDocument(daemon)),
    explain: async (subject) => toJson(await explainDocument(daemon, String(subject))),
    drain: async () => {
      const left = [...new Set([...daemon.snapshots.users().values()].flat())];
      setImmediate(end); // after the answer
      return { left };
    },
  };
}

/** A document as what it is on the wire. */
function toJson(document: unknown): JsonValue {
  return JSON.parse(JSON.stringify(document)) as JsonValue;
}
