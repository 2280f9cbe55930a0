import type { ErrorCode } from "@soci-ts/core";

/** What the process says of an error besides its message. */
export interface ExitEntry {
  readonly exitCode: number;
  readonly meaning: string;
  /** What a person can do about it. */
  readonly hint: string;
}

/** The one table from error code to exit code, the same numbers as those of `soci`; `--help` and the README show it. 0 is success. */
export const EXIT_CODES: Readonly<Record<ErrorCode, ExitEntry>> = {
  internal: {
    exitCode: 1,
    meaning: "a fault of the program, or a system call that failed oddly",
    hint: "run it again with --log-level debug and report what it says",
  },
  invalid_argument: {
    exitCode: 2,
    meaning: "wrong usage, or a configuration with faults",
    hint: "`soci-snapshotter config check` lists all faults of the configuration; add --help to a command to see its arguments",
  },
  not_found: {
    exitCode: 3,
    meaning: "no such image, snapshot or file",
    hint: "check the name; `soci-snapshotter status` lists the images, `ctr -n NAMESPACE snapshots --snapshotter soci ls` the snapshots",
  },
  already_exists: {
    exitCode: 4,
    meaning: "something is there already",
    hint: "remove what is there, or choose another name",
  },
  failed_precondition: {
    exitCode: 5,
    meaning:
      "the state of things does not allow it: another daemon runs, containerd's configuration lacks something",
    hint: "`soci-snapshotter config check` says what containerd lacks, `soci-snapshotter status` what runs",
  },
  unauthenticated: {
    exitCode: 6,
    meaning: "the registry wants credentials, or refused them",
    hint: "see [credentials] and [cri_proxy] in the configuration",
  },
  permission_denied: {
    exitCode: 7,
    meaning: "the registry or the system forbids it",
    hint: "run it as root; its sockets are for root only",
  },
  unavailable: {
    exitCode: 8,
    meaning: "the daemon, containerd or a registry can't be reached",
    hint: "is the daemon running? `systemctl status soci-snapshotter`; give --address and --config as the daemon has them",
  },
  deadline_exceeded: { exitCode: 9, meaning: "it took too long", hint: "try again" },
  resource_exhausted: {
    exitCode: 10,
    meaning: "the disk is full, or a limit is reached",
    hint: "free some space under its root, or try again later",
  },
  data_loss: {
    exitCode: 11,
    meaning: "bytes are not what their digest or format says",
    hint: "remove the image and pull it anew; if an index is named, make it again with `soci create --push`",
  },
  out_of_range: {
    exitCode: 12,
    meaning: "a position outside of a file or layer",
    hint: "report it: this should not happen",
  },
  unimplemented: {
    exitCode: 13,
    meaning: "something that this kernel, image or build does not do",
    hint: "`soci doctor` says what this machine can do",
  },
  aborted: { exitCode: 14, meaning: "another process got in the way", hint: "try again" },
  cancelled: {
    exitCode: 130,
    meaning: "interrupted",
    hint: "nothing is half done; run the command again",
  },
};

/** The table as text, for `soci-snapshotter --help`. */
export function exitCodesText(): string {
  const rows = Object.entries(EXIT_CODES).map(
    ([code, { exitCode, meaning }]) =>
      `  ${String(exitCode).padEnd(4)} ${code.padEnd(20)} ${meaning}`,
  );
  return ["Exit codes:", "  0    success", ...rows].join("\n");
}

/** The table in Markdown, for the README. */
export function exitCodesMarkdown(): string {
  const rows = Object.entries(EXIT_CODES).map(
    ([code, { exitCode, meaning }]) => `| ${exitCode} | \`${code}\` | ${meaning} |`,
  );
  return [
    "| exit code | error code | meaning |",
    "| --- | --- | --- |",
    "| 0 | | success |",
    ...rows,
    "| 141 | | whoever read stdout went away |",
  ].join("\n");
}
