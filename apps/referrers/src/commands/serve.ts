import { once } from "node:events";
import type { Session } from "../session.ts";
import { startService } from "../wire.ts";

/** Serves until the session is interrupted; SIGHUP reloads, SIGUSR2 collects garbage. Prints one line to stdout once it listens. */
export async function serve(session: Session): Promise<void> {
  await using service = await startService(session.config());
  const collect = (): void => service.collectGarbage();
  process.on("SIGUSR2", collect);
  process.stdout.write(`listening on ${service.url}\n`);
  const reload = () => service.reload();
  process.on("SIGHUP", reload);
  try {
    if (!session.signal.aborted) await once(session.signal, "abort");
  } finally {
    process.off("SIGHUP", reload);
    process.off("SIGUSR2", collect);
  }
}
