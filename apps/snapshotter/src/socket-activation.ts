import { AppError } from "@soci-ts/core";

/** What systemd says about sockets that it hands over: its environment variables of the same names (sd_listen_fds(3)). */
export interface ActivationVariables {
  readonly LISTEN_PID?: string | undefined;
  readonly LISTEN_FDS?: string | undefined;
  readonly LISTEN_FDNAMES?: string | undefined;
}

/** sd_listen_fds(3): the first descriptor that is handed over. */
const SD_LISTEN_FDS_START = 3;
const MAX_FDS = 1024;

/**
 * The descriptor of the socket that systemd hands to process `pid`; undefined if it hands none, or to another process. One alone
 * is taken whatever its name; among several it is the one with `FileDescriptorName=` `name`.
 * @throws AppError `invalid_argument` if the variables contradict each other, or don't say which one it is.
 */
export function activatedSocket(
  variables: ActivationVariables,
  pid: number,
  name: string,
): number | undefined {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = variables;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return undefined;
  if (parseCount("LISTEN_PID", LISTEN_PID, Number.MAX_SAFE_INTEGER) !== pid) return undefined;
  const count = parseCount("LISTEN_FDS", LISTEN_FDS, MAX_FDS);
  if (count === 0) return undefined;
  if (count === 1) return SD_LISTEN_FDS_START;
  const names = LISTEN_FDNAMES?.split(":") ?? [];
  const at = names.indexOf(name);
  if (names.length !== count || at === -1 || names.lastIndexOf(name) !== at) {
    throw new AppError(
      "invalid_argument",
      `Cannot take over a socket: systemd hands over ${count} of them named ${JSON.stringify(names.join(":"))}, want one with FileDescriptorName=${name}`,
    );
  }
  return SD_LISTEN_FDS_START + at;
}

function parseCount(what: string, text: string, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= max) return value;
  throw new AppError(
    "invalid_argument",
    `Cannot take over a socket: ${what} is ${JSON.stringify(text)}, want a number of at most ${max}`,
  );
}
