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
      log_level: {
        kind: "choice",
        choices: ["silent", "fatal", "error", "warn", "info", "debug", "trace"],
        default: "info",
        doc: "How much is logged, as JSON lines on stderr; requests at debug.",
        flag: "--log-level",
      },
      references: {
        kind: "choice",
        choices: ["checked", "unchecked"],
        default: "checked",
        doc: 'Whether what a pushed manifest refers to must be in its repository. "unchecked" also takes sparse images and indexes, as when one platform is mirrored, and answers with a warning.',
      },
    },
  },
} as const;
