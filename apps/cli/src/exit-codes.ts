import type { ErrorCode } from "@soci-ts/core";

/** What the process says of an error besides its message. */
export interface ExitEntry {
  readonly exitCode: number;
  readonly meaning: string;
  /** What a person can do about it. */
  readonly hint: string;
}

/** The one table from error code to exit code; `--help` and the README show it. 0 is success. */
export const EXIT_CODES: Readonly<Record<ErrorCode, ExitEntry>> = {
  internal: {
    exitCode: 1,
    meaning: "a fault of the program, or a system call that failed oddly",
    hint: "run it again with --log-level debug and report what it says",
  },
  invalid_argument: {
    exitCode: 2,
    meaning: "wrong usage: an option, argument or reference that can't be",
    hint: "add --help to the command to see its arguments and an example",
  },
  not_found: {
    exitCode: 3,
    meaning: "no such image, index, ztoc or file",
    hint: "check the name; `soci index ls` lists what the store holds",
  },
  already_exists: {
    exitCode: 4,
    meaning: "something is there already",
    hint: "choose another name or directory, or remove what is there",
  },
  failed_precondition: {
    exitCode: 5,
    meaning: "the state of things does not allow it",
    hint: "`soci doctor` says what this machine lacks",
  },
  unauthenticated: {
    exitCode: 6,
    meaning: "the registry wants credentials, or refused them",
    hint: "log in with `docker login REGISTRY` or `podman login REGISTRY`; `soci doctor` lists the credential files it reads",
  },
  permission_denied: {
    exitCode: 7,
    meaning: "the registry or the system forbids it",
    hint: "check the rights of the account; for the local store choose a directory of your own with --root DIR",
  },
  unavailable: {
    exitCode: 8,
    meaning: "the registry can't be reached or fails",
    hint: "`soci doctor REF` tests the way to the registry; give --plain-http for one without TLS",
  },
  deadline_exceeded: {
    exitCode: 9,
    meaning: "it took too long",
    hint: "try again; `soci doctor REF` tests the way to the registry",
  },
  resource_exhausted: {
    exitCode: 10,
    meaning: "the disk is full, a limit is reached, or the registry asks to slow down",
    hint: "free some space under --root, or try again later",
  },
  data_loss: {
    exitCode: 11,
    meaning: "bytes are not what their digest or format says",
    hint: "pull or push the image anew; if the store is named, `soci index rm` the index and create it again",
  },
  out_of_range: {
    exitCode: 12,
    meaning: "a position outside of a file or layer",
    hint: "check the numbers that you gave",
  },
  unimplemented: {
    exitCode: 13,
    meaning: "a kind of image, layer or file that is not supported",
    hint: "`soci doctor` says what this machine can do",
  },
  aborted: {
    exitCode: 14,
    meaning: "another process got in the way",
    hint: "try again",
  },
  cancelled: {
    exitCode: 130,
    meaning: "interrupted (Ctrl-C)",
    hint: "the store is as it was; run the command again to go on",
  },
};

/** The table as text, for `soci --help`. */
export function exitCodesText(): string {
  const rows = Object.entries(EXIT_CODES).map(
    ([code, { exitCode, meaning }]) =>
      `  ${String(exitCode).padEnd(4)} ${code.padEnd(20)} ${meaning}`,
  );
  return ["Exit codes:", `  0    ${"success".padEnd(20)} `.trimEnd(), ...rows].join("\n");
}
