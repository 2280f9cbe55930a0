/** How a layer server ended: by its own fault, or because somebody killed it. */
export type ServerEnd = "crashed" | "killed";

/** What the keeper tells a layer server that it starts, as one argument. */
export interface ServerStart {
  /** How the server before this one ended; `killed` for the first, too. */
  readonly predecessor: ServerEnd;
  /** Servers of this connection that have crashed. */
  readonly crashes: number;
  /** Servers of this connection that were killed; one that was replaced together with its keeper is not counted. */
  readonly kills: number;
  /** How often the keeper wants a beat; `undefined` from one that does not listen. */
  readonly beatMs: number | undefined;
}

/** The argument for {@link parseServerStart}. */
export function encodeServerStart(start: ServerStart): string {
  return JSON.stringify(start);
}

/**
 * Reads the keeper's argument. The keeper may be of another version than the server, since it stays while the program's files are replaced: what is
 * not there, or not understood, is as for a first server.
 */
export function parseServerStart(text: string | undefined): ServerStart {
  const { predecessor, crashes, kills, beatMs } = readObject(text);
  return {
    predecessor: predecessor === "crashed" ? "crashed" : "killed",
    crashes: typeof crashes === "number" ? crashes : 0,
    kills: typeof kills === "number" ? kills : 0,
    beatMs: typeof beatMs === "number" ? beatMs : undefined,
  };
}

function readObject(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {}; // see above
  }
}
