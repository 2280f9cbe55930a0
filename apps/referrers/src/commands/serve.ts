import { once } from "node:events";
import type { Session } from "../session.ts";
import { startService } from "../wire.ts";

/** Serves until the session is interrupted; SIGHUP reloads. Prints one line to stdout once it listens. */
export async function serve(session: Session): Promise<void> {
  await using service = await startService(session.config());
  process.stdout.write(`listening on ${service.url}\n`);
  const reload = () => service.reload();
  process.on("SIGHUP", reload);
  try {
    if (!session.signal.aborted) await once(session.signal, "abort");
  } finally {
    process.off("SIGHUP", reload);
  }
}
