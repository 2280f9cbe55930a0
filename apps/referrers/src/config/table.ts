/**
 * The configuration: every key with type, default, limits and meaning. The TypeScript type, the check, `config default`, `config show`
 * and the README's tables are all made from this. Section "" holds the keys above the first table. Times end in `_ms`, sizes in `_bytes`.
 */
export const CONFIG_TABLE = {
  "": {
    doc: "Where it keeps its data, and where it listens.",
    keys: {
      root: {
        kind: "path",
        default: "/var/lib/soci-referrers",
        doc: "Directory of all data; made if absent. One process per directory.",
        flag: "--root",
      },
      listen: {
        kind: "listen",
        default: "127.0.0.1:5000",
        doc: "Address to listen on. Port 0 lets the system choose; an IPv6 address stands in brackets.",
        flag: "--listen",
      },
      mode: {
        kind: "choice",
        choices: ["read-write", "read-only"],
        default: "read-write",
        doc: "read-only: pushes and deletes are refused, nothing is written, the root need not be writable and may be open elsewhere.",
        flag: "--read-only",
      },
      log_level: {
        kind: "choice",
        choices: ["silent", "fatal", "error", "warn", "info", "debug", "trace"],
        default: "info",
        doc: "How much is logged, as JSON lines on stderr; one line for each request at info.",
        flag: "--log-level",
      },
    },
  },
  gc: {
    doc: "When what nothing needs any more is removed. 0 for a time to keep: for ever.",
    keys: {
      interval_ms: {
        kind: "milliseconds",
        default: 3_600_000,
        range: [0, 31_536_000_000],
        doc: "Time between two garbage collections. 0: only at SIGUSR2.",
      },
      grace_ms: {
        kind: "milliseconds",
        default: 86_400_000,
        range: [600_000, 31_536_000_000],
        doc: "How long a blob that no manifest refers to is kept after its push, mount or HEAD, or after the manifest went; longer than any push takes.",
      },
      untagged_keep_ms: {
        kind: "milliseconds",
        default: 0,
        range: [0, 315_360_000_000],
        doc: "How long a manifest is kept after it lost its last tag, index and subject; by default for ever, since it can be pulled by its digest.",
      },
      orphan_keep_ms: {
        kind: "milliseconds",
        default: 2_592_000_000,
        range: [0, 315_360_000_000],
        doc: "How long a referrer (SOCI index, signature, SBOM) is kept after its subject was removed here; those whose subject never was here stay.",
      },
    },
  },
} as const;
