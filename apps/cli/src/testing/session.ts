import { loadConfig } from "../config.ts";
import { openSession, type Session } from "../wire.ts";

/** A session in this process, with nothing from its surroundings: quicker than a child process for each command. */
export function testSession(root: string): Session {
  const surroundings = { env: {}, userId: 1000, home: "/nonexistent", isTerminal: false };
  const config = loadConfig({ root, logLevel: "silent" }, surroundings);
  const session = openSession(config, new AbortController().signal);
  const silent = { start: () => ({ update: () => {}, finish: () => {} }), close: () => {} };
  return { ...session, progress: silent };
}
