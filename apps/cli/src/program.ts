import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { type GlobalFlags, LOG_LEVELS } from "./config.ts";
import { exitCodesText } from "./exit-codes.ts";
import type { Report } from "./output.ts";
import { duration, platforms, uploadCount } from "./program-options.ts";
import type { Session } from "./wire.ts";

/** What a command does, once it is loaded. `undefined`: it wrote its result to stdout itself. */
export type Action = (session: Session) => Promise<Report | undefined>;

/**
 * Runs an action within a session; a parameter, so that the tree can be walked (completion, tests) without one.
 * @param flags - options of the command that say how the session is made.
 */
export type Runner = (action: Action, flags?: GlobalFlags) => Promise<void>;

/** Smallest span: below it an index is larger than its layer. */
const MIN_SPAN_SIZE_BYTES = 65_536;
const MAX_SPAN_SIZE_BYTES = 1_073_741_824;
const DEFAULT_SPAN_SIZE_BYTES = 4_194_304;
const SPAN_SIZE_MEANING = "uncompressed bytes between two points that can be read from";
const DEFAULT_MIN_LAYER_BYTES = 10_485_760;
const MIN_LAYER_SIZE_MEANING = "leave out layers whose blob is smaller; 0 takes all";

/**
 * The command tree. Modules of commands are loaded when their command runs, so that `--help` and completion are quick.
 */
export function buildProgram(version: string, runner: Runner): Command {
  const program = new Command("soci")
    .description(
      "Index container images so that they start before they are downloaded. Images are never altered.",
    )
    .version(version, "-V, --version", "print the version")
    .option(
      "--root <dir>",
      "directory of the local store (default: /var/lib/soci-ts for root, $XDG_DATA_HOME/soci-ts for others)",
    )
    .option("--json", "print the result as one JSON document on stdout")
    .option("--plain-http", "talk to the registry without TLS (automatic for loopback addresses)")
    .option("--ca-file <file>", "trust the CAs in this PEM file too")
    .addOption(
      new Option("--log-level <level>", "what to log on stderr")
        .choices(LOG_LEVELS)
        .default("warn"),
    )
    .option("--debug", "the same as --log-level debug")
    .option("--timeout <duration>", "give up after this long, for example 90s (0: never)", duration)
    .option(
      "-a, --address <socket>",
      "containerd's socket; with it a reference means an image that containerd has (default: $CONTAINERD_ADDRESS, /run/containerd/containerd.sock)",
    )
    .option(
      "-n, --namespace <name>",
      "containerd's namespace; likewise (default: $CONTAINERD_NAMESPACE, default)",
    )
    .addOption(
      new Option(
        "--content-store <store>",
        "read images from containerd, whichever is given; indexes are kept in the local store",
      ).choices(["containerd", "soci"]),
    )
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  addBuildCommands(program, runner);
  addConvertCommand(program, runner);
  addIndexCommands(program, runner);
  addZtocCommands(program, runner);
  addProofCommands(program, runner);
  addMountCommands(program, runner);
  addMachineCommands(program, runner);
  program.addHelpText(
    "after",
    () => `\n${exitCodesText()}\n${example("soci create --push registry.example/app:v1")}`,
  );
  return program;
}

function addBuildCommands(program: Command, runner: Runner): void {
  program
    .command("create")
    .summary("index an image into the local store")
    .description("Read each layer of an image once and keep its SOCI index in the local store.")
    .addArgument(image())
    .option("--span-size <bytes>", SPAN_SIZE_MEANING, spanSize, DEFAULT_SPAN_SIZE_BYTES)
    .option("--min-layer-size <bytes>", MIN_LAYER_SIZE_MEANING, byteCount, DEFAULT_MIN_LAYER_BYTES)
    .addOption(platforms())
    .option("--all-platforms", "index every platform that the image has")
    .addOption(prefetchFile())
    .addOption(prefetchFilesJson())
    .option(
      "--jobs <n>",
      "layers to work on at a time (default: one for each processor, at most 4)",
      jobCount,
    )
    .addOption(
      new Option("--reuse <which>", "which indexes in the image's registry to take ztocs from")
        .choices(["any", "bound", "none"])
        .default("any"),
    )
    .option(
      "-f, --force",
      "read every layer again, whatever ztocs there are, here or in the registry",
    )
    .option("--push", "also do what `soci push` does")
    .addHelpText("after", example("soci create --min-layer-size 0 oci:./layout:latest"))
    .action(async (name: string, options) =>
      runner(async (session) =>
        (await import("./commands/create.ts")).create(session, name, options),
      ),
    );
  program
    .command("push")
    .summary("put an image's index beside it in its registry")
    .description(
      "Push the newest index of an image from the local store to the image's registry, as a referrer.",
    )
    .addArgument(new Argument("<ref>", "the image in the registry"))
    .addOption(platforms())
    .option("--all-platforms", "push the index of every platform that the image has")
    .option("--index <digest>", "push this index of the store instead of the newest")
    .addOption(
      new Option("--existing-index <what>", "if the image has an index in the registry already")
        .choices(["warn", "skip", "allow"])
        .default("warn"),
    )
    .option("--max-concurrent-uploads <count>", "uploads at a time", uploadCount, 3)
    .option("-q, --quiet", "print nothing but the digests of the indexes")
    .option("-u, --user <user:password>", "log in with this, not with the credential files")
    .option("--hosts-dir <dirs>", "directories of hosts.toml files, with commas between")
    .option("-k, --skip-verify", "no effect: certificates are always verified (see --ca-file)")
    .addHelpText("after", example("soci push registry.example/app:v1"))
    .action(async (name: string, { user, hostsDir, ...options }) =>
      runner(async (session) => (await import("./commands/push.ts")).push(session, name, options), {
        ...(user !== undefined && { user }),
        ...(hostsDir !== undefined && { hostsDir }),
      }),
    );
}

function addConvertCommand(program: Command, runner: Runner): void {
  program
    .command("convert")
    .summary("write an image anew with its SOCI indexes (v2) in it")
    .description(
      "Copy an image to another name and bind a SOCI index of each platform to it: one tag and one digest stand for both.",
    )
    .addArgument(image("source"))
    .argument("<dest>", "a tag in a registry, or oci:DIR[:TAG]")
    .option("--span-size <bytes>", SPAN_SIZE_MEANING, spanSize, DEFAULT_SPAN_SIZE_BYTES)
    .option("--min-layer-size <bytes>", MIN_LAYER_SIZE_MEANING, byteCount, DEFAULT_MIN_LAYER_BYTES)
    .option(
      "-p, --platform <os/arch>",
      "index this platform; may be repeated (default: this machine's, or the image's only one)",
      collect,
      [],
    )
    .option("--all-platforms", "index all platforms that the image has")
    .option("-f, --force", "read every layer again, whatever ztocs there are in the local store")
    .addOption(prefetchFile())
    .addOption(prefetchFilesJson())
    .addHelpText(
      "after",
      example("soci convert registry.example/app:v1 registry.example/app:v1-soci"),
    )
    .action(async (source: string, destination: string, options) =>
      runner(async (session) =>
        (await import("./commands/convert.ts")).convert(session, {
          source,
          destination,
          ...options,
        }),
      ),
    );
}

function addIndexCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/index-commands.ts");
  const index = group(program, "index", "list, show and remove indexes of the local store");
  index
    .command("ls")
    .description("List the indexes in the local store, newest first.")
    .addHelpText("after", example("soci index ls"))
    .action(async () => runner(async (session) => (await load()).listIndexes(session)));
  index
    .command("info")
    .description("Show an index; with --json its manifest too.")
    .argument("<digest>", "the index's digest, or its beginning")
    .addHelpText("after", example("soci index info sha256:4f2a"))
    .action(async (digest: string) =>
      runner(async (session) => (await load()).indexInfo(session, digest)),
    );
  index
    .command("rm")
    .description("Remove indexes, and the ztocs that no other index uses, from the local store.")
    .argument("<digest...>", "the indexes' digests, or their beginnings")
    .addHelpText("after", example("soci index rm sha256:4f2a sha256:91bc"))
    .action(async (digests: string[]) =>
      runner(async (session) => (await load()).removeIndexes(session, digests)),
    );
}

function addZtocCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/ztoc-commands.ts");
  const ztoc = group(
    program,
    "ztoc",
    "list and show ztocs of the local store, and read files by them",
  );
  ztoc
    .command("ls")
    .description("List the ztocs (one for each indexed layer) in the local store.")
    .addHelpText("after", example("soci ztoc ls"))
    .action(async () => runner(async (session) => (await load()).listZtocs(session)));
  ztoc
    .command("info")
    .description("Show a ztoc: its spans, and the files of its layer.")
    .argument("<digest>", "the ztoc's digest, or its beginning")
    .addHelpText("after", example("soci ztoc info sha256:77d0"))
    .action(async (digest: string) =>
      runner(async (session) => (await load()).ztocInfo(session, digest)),
    );
  ztoc
    .command("cat")
    .description("Write a file of a layer to stdout; only the spans that hold it are fetched.")
    .argument("<digest>", "the ztoc's digest, or its beginning")
    .argument("<path>", "the file's path in the layer, as `soci ztoc info` shows it")
    .option(
      "--ref <image>",
      "read the layer from this image (default: where the index was made from)",
    )
    .addHelpText("after", example("soci ztoc cat sha256:77d0 etc/os-release"))
    .action(async (digest: string, path: string, options) =>
      runner(async (session) =>
        (await import("./commands/ztoc-cat.ts")).ztocCat(session, { digest, path, ...options }),
      ),
    );
}

function addProofCommands(program: Command, runner: Runner): void {
  program
    .command("inspect")
    .summary("say what lazy loading would do for an image")
    .description(
      "Show, for each layer, whether it would be loaded lazily, by which index, and why not; nothing of the layers is read.",
    )
    .addArgument(image())
    .addOption(platform())
    .option("--html <file>", "write a page with pictures to this file too")
    .addHelpText("after", example("soci inspect --html app.html registry.example/app:v1"))
    .action(async (name: string, options) =>
      runner(async (session) =>
        (await import("./commands/inspect.ts")).inspect(session, name, options),
      ),
    );
  program
    .command("verify")
    .summary("prove an index against the layers of its image")
    .description(
      "Derive every checkpoint, window, file entry and digest from the layers anew, and name the first that the index says otherwise.",
    )
    .argument(
      "<ref|digest>",
      "an image, whose index is found as a node finds it; or an index of the store",
    )
    .addOption(platform())
    .option("--quick", "check structure and span digests only; nothing is inflated")
    .addHelpText("after", example("soci verify registry.example/app:v1"))
    .action(async (name: string, options) =>
      runner(async (session) =>
        (await import("./commands/verify.ts")).verify(session, name, options),
      ),
    );
}

function addMountCommands(program: Command, runner: Runner): void {
  const load = () => import("./commands/mount.ts");
  program
    .command("mount")
    .summary("mount an image's root file system, lazily")
    .description(
      "Mount an image's root file system read-only; what is read is fetched when it is read.",
    )
    .argument("<ref>", "the image in its registry")
    .argument("<dir>", "an empty directory")
    .addOption(
      new Option("--door <door>", "how the kernel is given the files")
        .choices(["auto", "erofs", "loop", "fuse"])
        .default("auto"),
    )
    .addOption(platform())
    .addHelpText("after", example("soci mount registry.example/app:v1 /mnt/app"))
    .action(async (name: string, directory: string, options) =>
      runner(async (session) => (await load()).mount(session, name, { directory, ...options })),
    );
  program
    .command("unmount")
    .summary("undo `soci mount`")
    .description("Unmount what `soci mount` mounted, and end its serving process.")
    .argument("<dir>", "the directory given to `soci mount`")
    .addHelpText("after", example("soci unmount /mnt/app"))
    .action(async (directory: string) =>
      runner(async (session) => (await load()).unmount(session, directory)),
    );
  program
    .command("serve-mount", { hidden: true })
    .description("The process behind a mount; started by `soci mount`.")
    .requiredOption("--state <dir>", "the mount's state directory")
    .addHelpText("after", example("soci serve-mount --state /var/lib/soci-ts/mounts/1"))
    .action(async (options: { state: string }) =>
      runner(async (session) =>
        (await import("./commands/serve-mount.ts")).serve(session, options.state),
      ),
    );
}

function addMachineCommands(program: Command, runner: Runner): void {
  program
    .command("doctor")
    .summary("say what this machine lacks, and how to mend it")
    .description(
      "Check kernel, /dev/fuse, CAs, credentials, store, and the way to a registry; each with the exact fix.",
    )
    .argument("[ref]", "an image or a registry to reach")
    .addHelpText("after", example("soci doctor registry.example/app:v1"))
    .action(async (name: string | undefined) =>
      runner(async (session) => (await import("./commands/doctor.ts")).doctor(session, name)),
    );
  program
    .command("completion")
    .summary("print a completion script for a shell")
    .description("Print a script that completes commands and options.")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .addHelpText("after", example("soci completion bash > /etc/bash_completion.d/soci"))
    .action(async (shell: "bash" | "zsh" | "fish") =>
      runner(async () => (await import("./commands/completion.ts")).completion(program, shell)),
    );
}

function group(program: Command, name: string, summary: string): Command {
  const described = `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
  return program
    .command(name)
    .summary(summary)
    .description(described)
    .helpCommand(false)
    .addHelpText("after", example(`soci ${name} ls`));
}

function image(name = "image"): Argument {
  return new Argument(
    `<${name}>`,
    "the image in a registry, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], containerd:NAME, or - for an archive on stdin",
  );
}

function platform(): Option {
  return new Option(
    "--platform <os/arch>",
    "which image of a multi-platform one (default: this machine's)",
  );
}

function prefetchFile(): Option {
  const meaning = "have nodes fetch this file of the image before it is read; may be repeated";
  return new Option("--prefetch-file <path>", meaning).argParser(collect).default([]);
}

function prefetchFilesJson(): Option {
  return new Option("--prefetch-files-json <file>", "the same for all paths in this JSON array");
}

function example(line: string): string {
  return `\nExample:\n  $ ${line}\n`;
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function byteCount(text: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("Want a number of bytes.");
}

function jobCount(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (value > 0) return value;
  throw new InvalidArgumentError("Want a number from 1 to 999.");
}

function spanSize(text: string): number {
  const value = byteCount(text);
  if (value >= MIN_SPAN_SIZE_BYTES && value <= MAX_SPAN_SIZE_BYTES) return value;
  throw new InvalidArgumentError(`Want ${MIN_SPAN_SIZE_BYTES} to ${MAX_SPAN_SIZE_BYTES} bytes.`);
}
