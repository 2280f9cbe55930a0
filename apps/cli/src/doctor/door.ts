import { AppError } from "@soci-ts/core";
import { chooseDoor } from "@soci-ts/snapshotter";
import { serverCommand } from "../commands/serve-mount.ts";
import type { Session } from "../wire.ts";
import type { Finding } from "./finding.ts";

const CHECK = "door";

/** Which door `soci mount` would take, found out by mounting something tiny; nothing where mounts can't be made at all. */
export async function checkDoor(session: Session): Promise<Finding[]> {
  if (!session.config.isRoot) return [];
  try {
    const store = await session.store();
    const server = serverCommand(session);
    const { door, reason } = await chooseDoor("auto", { store, server, logger: session.logger });
    const found = `${door}: ${reason}`;
    if (door !== "fuse") return [{ check: CHECK, state: "ok", found }];
    const fix =
      "nothing is needed: the FUSE tree works too, more slowly when many files are listed";
    return [{ check: CHECK, state: "warn", found, fix }];
  } catch (error) {
    const { message } = AppError.from(error);
    return [{ check: CHECK, state: "warn", found: message, fix: "see the checks above" }];
  }
}
