import type { Credential } from "@soci-ts/registry-client";
import type { JsonValue, LocalHandlers } from "@soci-ts/snapshotter";
import type { Daemon } from "./daemon.ts";
import { explainDocument, statusDocument } from "./documents.ts";

/** What the daemon answers on its control socket. `end` makes it end; mounts that nobody uses go with it. */
export function controlHandlers(daemon: Daemon, end: () => void): LocalHandlers {
  return {
    ping: async () => process.pid,
    status: async () => toJson(await statusDocument(daemon)),
    explain: async (subject) => toJson(await explainDocument(daemon, String(subject))),
    gc: async (params) => toJson(await daemon.layers.collectGarbage({ all: params === "all" })),
    credential: async (params) => {
      const { registry, repository, refused } = params as unknown as CredentialQuery;
      const found = await daemon.kubelet.find(registry, repository ?? undefined, { refused });
      return found === undefined ? null : toJson(found);
    },
    drain: async () => {
      const left = [...new Set([...daemon.snapshots.users().values()].flat())];
      setImmediate(end); // after the answer
      return { left };
    },
  };
}

/** What another process of the node asks for. */
interface CredentialQuery {
  readonly registry: string;
  readonly repository: string | null;
  readonly refused: readonly Credential[];
}

/** A document as what it is on the wire. */
function toJson(document: unknown): JsonValue {
  return JSON.parse(JSON.stringify(document)) as JsonValue;
}
