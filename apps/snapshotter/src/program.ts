import { once } from "node:events";
import { Command, Option } from "commander";
import { CONFIG_TABLE } from "./config/table.ts";
import { exitCodesText } from "./exit-codes.ts";
import type { Action, Runner, Session } from "./session.ts";

const slots = () => import("./slots.ts");

const WATCH_INTERVAL_MS = 2000;

/**
 * The command tree. What commands need is loaded when they run, so that `--help` is quick and the daemon's small processes stay small.
 */
export function buildProgram(version: string, runner: Runner): Command {
  const program = new Command("soci-snapshotter")
    .description(
      "Start containers from unmodified images before these are downloaded: a snapshotter for containerd. Without a command it runs as the daemon.",
    )
    .version(version, "-V, --version", "print the version")
    .option(
      "--root <dir>",
      `directory of all data (default: ${CONFIG_TABLE[""].keys.root.default})`,
    )
    .option(
      "--address <socket>",
      `Unix socket for containerd (default: ${CONFIG_TABLE[""].keys.address.default})`,
    )
    .option(
      "--config <file>",
      "configuration file (default: /etc/soci-snapshotter/config.toml, if it is there)",
    )
    .addOption(
      new Option("--log-level <level>", "what to log on stderr (default: info)").choices(
        CONFIG_TABLE[""].keys.log_level.choices,
      ),
    )
    .option("--json", "print the result as one JSON document on stdout")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .action(async () => runner(quietly(async (session) => (await slots()).runDaemon(session))));
  addViews(program, runner);
  addDaemonCommands(program, runner);
  addConfigCommands(program, runner);
  addHiddenCommands(program, runner);
  const usage = "soci-snapshotter --root /var/lib/soci-snapshotter --config config.toml";
  program.addHelpText("after", () => `\n${exitCodesText()}\n${example(usage)}`);
  return program;
}

/** What only shows. */
function addViews(program: Command, runner: Runner): void {
  program
    .command("status")
    .summary("show mounts, layers, cache and errors of the running daemon")
    .description(
      "Show what the running daemon has: images and their layers, mounts, cache, errors.",
    )
    .option("--watch", "show it again every two seconds until interrupted")
    .addHelpText("after", example("soci-snapshotter status"))
    .action(async (options: { watch?: boolean }) =>
      runner(async (session) => {
        await using control = await (await slots()).controlClient(session.config());
        if (options.watch !== true) {
          return (await import("./commands/status.ts")).statusReport(await control.status());
        }
        const { watchStatus } = await import("./commands/watch-status.ts");
        const { json = false } = session.flags;
        const status = () => control.status();
        await watchStatus({ status, json, ...watching(session.signal) });
        return undefined;
      }),
    );
  program
    .command("explain")
    .summary("say how each layer of an image came to be here, and why")
    .description(
      "Say in plain words, per layer: lazy or not, why, by which index, from where, how many bytes came, what failed, and what to do.",
    )
    .argument("<image|snapshot>", "an image's reference as it was pulled, or a snapshot's key")
    .addHelpText("after", example("soci-snapshotter explain registry.example/app:v1"))
    .action(async (subject: string) =>
      runner(async (session) => {
        await using control = await (await slots()).controlClient(session.config());
        const document = await control.explain(subject);
        return (await import("./commands/explain.ts")).explainReport(document);
      }),
    );
}

function addDaemonCommands(program: Command, runner: Runner): void {
  program
    .command("repair")
    .summary("bring back an image whose snapshots are gone")
    .description(
      "For every namespace of containerd that has the image: tell which snapshots are missing, and make them again.",
    )
    .argument("<image>", "the image's name in containerd")
    .option("--dry-run", "only tell what is missing")
    .addHelpText("after", example("soci-snapshotter repair registry.example/app:v1"))
    .action(async (image: string, options: { dryRun?: boolean }) =>
      runner(async (session) => {
        const config = session.config();
        const { openRepair } = await import("./commands/open-repair.ts");
        const { repairImage, repairReport } = await import("./commands/repair.ts");
        const { address, snapshotter } = config.containerd;
        await using containerd = openRepair(address, snapshotter, session.signal);
        const isDryRun = options.dryRun === true;
        return repairReport(
          await repairImage(containerd, { image, snapshotter, isDryRun, signal: session.signal }),
        );
      }),
    );
  program
    .command("gc")
    .summary("free disk space: what nothing needs, and cached bytes beyond the limits")
    .description(
      "Remove layers that no snapshot needs, caches of no layer and unfinished files, and bring cached bytes down to the limits of [cache]. What is evicted is fetched again when it is read.",
    )
    .option("--all", "also evict cached bytes within the limits, save for what was read lately")
    .addHelpText("after", example("soci-snapshotter gc --all"))
    .action(async (options: { all?: boolean }) =>
      runner(async (session) => {
        await using control = await (await slots()).controlClient(session.config());
        const document = await control.gc({ all: options.all === true });
        return (await import("./commands/gc.ts")).gcReport(document);
      }),
    );
  program
    .command("drain")
    .summary("end the daemon and all its mounts cleanly")
    .description(
      "Unmount what no container uses, end the daemon and its processes, and tell what is still in use. Before an uninstall, not before an upgrade.",
    )
    .addHelpText("after", example("soci-snapshotter drain"))
    .action(async () =>
      runner(async (session) => {
        await using control = await (await slots()).controlClient(session.config());
        const { left } = await control.drain();
        const text = left.length === 0 ? "drained" : `still in use, and left:\n${left.join("\n")}`;
        return {
          json: { left },
          text,
          failed: left.length === 0 ? undefined : "failed_precondition",
        };
      }),
    );
}

function addConfigCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/config.ts");
  const config = program
    .command("config")
    .summary("print and check configuration")
    .description("Print and check configuration.")
    .helpCommand(false)
    .addHelpText("after", example("soci-snapshotter config check"));
  config
    .command("default")
    .description(
      "Print a complete configuration file: all keys at their defaults, with their meaning.",
    )
    .addHelpText(
      "after",
      example("soci-snapshotter config default > /etc/soci-snapshotter/config.toml"),
    )
    .action(async () => runner(async () => (await load()).configDefault()));
  config
    .command("check")
    .description(
      "List all faults of the configuration, and what containerd's configuration lacks, with the lines to add.",
    )
    .option(
      "--containerd-config <file>",
      "containerd's configuration",
      "/etc/containerd/config.toml",
    )
    .addHelpText("after", example("soci-snapshotter config check"))
    .action(async (options: { containerdConfig: string }) =>
      runner(async (session) => (await load()).runConfigCheck(session, options.containerdConfig)),
    );
  config
    .command("dump")
    .description(
      "Print the configuration that the daemon would run with; words that can be secrets are hidden.",
    )
    .addHelpText("after", example("soci-snapshotter config dump"))
    .action(async () => runner(async (session) => (await load()).configDump(session.config())));
}

/** The daemon's own processes. What stands behind their names is theirs to read. */
function addHiddenCommands(program: Command, runner: Runner): void {
  const add = (
    name: string,
    description: string,
    run: (session: Session, args: readonly string[]) => Promise<void>,
  ) =>
    program
      .command(name, { hidden: true })
      .description(description)
      .argument("[args...]")
      .allowUnknownOption()
      .addHelpText("after", example(`soci-snapshotter ${name}`))
      .action(async (args: string[]) => runner(quietly((session) => run(session, args))));
  add("keeper", "The process that holds /dev/fuse.", async (session, args) =>
    (await slots()).keeper(session, args),
  );
  add("serve-layers", "The process that answers the kernel's reads.", async (session, args) =>
    (await slots()).layerServer(session, args),
  );
  add("image-worker", "The process that indexes layers.", async (session) =>
    (await slots()).imageWorker(session),
  );
  add("serve-mount", "The serving process of a trial mount.", async (session, args) =>
    (await slots()).trialServer(session, args),
  );
  add("mount-helper", "The process that makes mounts.", async () => (await slots()).mountHelper());
}

/** Where `status --watch` shows what. */
function watching(signal: AbortSignal) {
  const { stdout } = process;
  const write = async (text: string): Promise<void> => {
    if (!stdout.write(text)) await once(stdout, "drain");
  };
  return { write, isTerminal: stdout.isTTY, intervalMs: WATCH_INTERVAL_MS, signal };
}

/** An action that prints nothing. */
function quietly(run: (session: Session) => Promise<void>): Action {
  return async (session) => {
    await run(session);
    return undefined;
  };
}

function example(line: string): string {
  return `\nExample:\n  $ ${line}\n`;
}
