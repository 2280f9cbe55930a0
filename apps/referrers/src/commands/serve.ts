import { once } from "node:events";
import type { Session } from "../session.ts";
import { startService } from "../wire.ts";

/** Serves until the session is interrupted. Prints one line to stdout once it listens. SIGUSR2 has it collect garbage. */
export async function serve(session: Session): Promise<void> {
  await using service = await startService(session.config());
  const collect = (): void => service.collectGarbage();
  process.on("SIGUSR2", collect);
  process.stdout.write(`listening on ${service.url}\n`);
  if (!session.signal.aborted) await once(session.signal, "abort");
  process.off("SIGUSR2", collect);
}
