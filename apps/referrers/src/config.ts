import { createRequire } from "node:module";
import { isIPv6 } from "node:net";
import { Command, InvalidArgumentError, Option } from "commander";

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** How much is logged. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Everything that the program can be told; made once at the start. */
export interface Config {
  /** The folder that holds all data. */
  readonly root: string;
  /** Host name or address, an IPv6 address without brackets. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly logLevel: LogLevel;
}

interface Flags {
  readonly root: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly insecureListenAny: boolean;
  readonly logLevel: LogLevel;
}

const EXAMPLE = `
Example:
  $ npx soci-referrers --root /var/lib/soci-referrers --listen 127.0.0.1:5000
  $ skopeo copy --dest-tls-verify=false oci:image docker://127.0.0.1:5000/demo:latest
`;

/**
 * Reads the command line (without node and script). Prints and exits by itself for `--help` and `--version` (code 0), and
 * for a faulty command line (code 1).
 */
export function parseConfig(args: readonly string[]): Config {
  const command = createCommand();
  command.parse([...args], { from: "user" });
  const { root, listen, insecureListenAny, logLevel } = command.opts<Flags>();
  if (!insecureListenAny && !isLoopback(listen.host)) {
    command.error(
      `error: cannot listen on ${listen.host}: anyone who reaches it could push and delete, because there is no ` +
        "authentication yet; want a loopback address, or --insecure-listen-any",
    );
  }
  return Object.freeze({ root, ...listen, logLevel });
}

function createCommand(): Command {
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  return new Command("soci-referrers")
    .description("A registry with the referrers API, kept in one folder.")
    .version(version)
    .requiredOption("--root <dir>", "folder that holds all data; made if absent")
    .addOption(
      new Option("--listen <host:port>", "address to listen on; port 0 lets the system choose")
        .argParser(parseListen)
        .default({ host: "127.0.0.1", port: 5000 }, "127.0.0.1:5000"),
    )
    .option("--insecure-listen-any", "allow addresses that other machines can reach", false)
    .addOption(
      new Option("--log-level <level>", "how much is logged, as JSON lines on stderr")
        .choices(LOG_LEVELS)
        .default("info"),
    )
    .allowExcessArguments(false)
    .addHelpText("after", EXAMPLE);
}

function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const [, address, name] = match ?? [];
  if (address !== undefined && !isIPv6(address)) {
    throw new InvalidArgumentError("Want an IPv6 address between the brackets.");
  }
  const host = address ?? name;
  if (host === undefined || port > 65_535) {
    throw new InvalidArgumentError("Want host:port, for example 127.0.0.1:5000 or [::1]:5000.");
  }
  return { host, port };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
