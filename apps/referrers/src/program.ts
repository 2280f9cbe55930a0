import { Command, Option } from "commander";
import { CONFIG_TABLE } from "./config/table.ts";
import { DEFAULT_CONFIG_FILE } from "./config.ts";
import type { Runner } from "./session.ts";

const HEAD = CONFIG_TABLE[""].keys;

/** The command tree. What commands need is loaded when they run, so that `--help` is quick. */
export function buildProgram(version: string, runner: Runner): Command {
  const program = new Command("soci-referrers")
    .description(
      "A registry with the referrers API, kept in one folder. Without a command it serves.",
    )
    .version(version, "-V, --version", "print the version")
    .option("--root <dir>", `folder that holds all data (default: ${HEAD.root.default})`)
    .option(
      "--listen <host:port>",
      `address to listen on; port 0 lets the system choose (default: ${HEAD.listen.default})`,
    )
    .option("--insecure-listen-any", "allow addresses that other machines can reach")
    .option("--read-only", "refuse pushes and deletes, and write nothing")
    .option(
      "--config <file>",
      `configuration file (default: ${DEFAULT_CONFIG_FILE}, if it is there)`,
    )
    .addOption(
      new Option(
        "--log-level <level>",
        `how much is logged, as JSON lines on stderr (default: ${HEAD.log_level.default})`,
      ).choices(HEAD.log_level.choices),
    )
    .option("--json", "print a command's result as one JSON document on stdout")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .action(async () =>
      runner(async (session) => {
        await (await import("./commands/serve.ts")).serve(session);
        return undefined;
      }),
    );
  addKeepingCommands(program, runner);
  addConfigCommands(program, runner);
  return program.addHelpText(
    "after",
    example(
      "npx soci-referrers --root /var/lib/soci-referrers --listen 127.0.0.1:5000",
      "skopeo copy --dest-tls-verify=false oci:image docker://127.0.0.1:5000/demo:latest",
    ),
  );
}

/** What looks after the folder. */
function addKeepingCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/keeping.ts");
  program
    .command("fsck")
    .summary("check everything below the root")
    .description(
      "Check the catalogue, every blob byte by byte, every manifest and what it refers to, and look for leftovers. Beside a running service it only reads, and leaves out leftovers. Ends with 1 if there are faults.",
    )
    .option("--repair", "remove leftovers, restore what is derived; wants the service stopped")
    .addHelpText("after", example("soci-referrers --root /var/lib/soci-referrers fsck"))
    .action(async (options: { repair?: boolean }) =>
      runner(async (session) => (await load()).fsck(session, options.repair === true)),
    );
  program
    .command("backup")
    .summary("copy the root to another folder, also while the service runs")
    .description(
      "Make or renew a backup: the state of one moment, with blobs as hard links on the same file system, as copies elsewhere. Ends with 1 if blobs are damaged; all others are in it.",
    )
    .argument("<folder>", "a folder that is absent, empty, or a backup")
    .addHelpText("after", example("soci-referrers backup /mnt/backup/soci-referrers"))
    .action(async (folder: string) =>
      runner(async (session) => (await load()).backup(session, folder)),
    );
  program
    .command("restore")
    .summary("make a new root of a backup")
    .description(
      "Copy a backup to the root, which must have no registry. Every blob is verified. Ends with 1 if blobs of the backup are damaged; all others are restored.",
    )
    .argument("<folder>", "the backup")
    .addHelpText(
      "after",
      example("soci-referrers --root /srv/new restore /mnt/backup/soci-referrers"),
    )
    .action(async (folder: string) =>
      runner(async (session) => (await load()).restore(session, folder)),
    );
  program
    .command("gc")
    .summary("collect garbage, while no service runs")
    .description(
      "Remove by the rules of [gc] what nothing needs any more. A running service does so by itself, and at once when it gets SIGUSR2.",
    )
    .addHelpText("after", example("soci-referrers --root /var/lib/soci-referrers gc"))
    .action(async () => runner(async (session) => (await load()).gc(session)));
}

function addConfigCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/config.ts");
  const config = program
    .command("config")
    .summary("print and check configuration")
    .description("Print and check configuration.")
    .helpCommand(false)
    .addHelpText("after", example("soci-referrers config check"));
  config
    .command("default")
    .description(
      "Print a complete configuration file: all keys at their defaults, with their meaning.",
    )
    .addHelpText("after", example(`soci-referrers config default > ${DEFAULT_CONFIG_FILE}`))
    .action(async () => runner(async () => (await load()).configDefault()));
  config
    .command("dump")
    .description("Print the configuration that the program would run with.")
    .addHelpText("after", example("soci-referrers config dump"))
    .action(async () => runner(async (session) => (await load()).configDump(session.config())));
  config
    .command("check")
    .description("List all faults of the configuration.")
    .addHelpText("after", example("soci-referrers config check"))
    .action(async () => runner(async (session) => (await load()).configCheck(session)));
}

function example(...lines: readonly string[]): string {
  return `\nExample:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}
