import { existsSync } from "node:fs";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { command } from "./process.ts";

/** One containerd that tests run: the programs that belong together. */
export interface ContainerdPrograms {
  /** As it tells, for example `1.6.20`. */
  readonly version: string;
  /** Its path. */
  readonly containerd: string;
  /** Path of a `ctr` that speaks with it. */
  readonly ctr: string;
  /** What PATH has to be for it, so that it finds its own shim. */
  readonly searchPath: string;
}

/** The suite that has a containerd 1.7. It runs on the suite before it. */
const NEWER_SUITE = "trixie";
const SYSTEM_FOLDERS: readonly string[] = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
];

/**
 * Every containerd that can be had here: the installed one, the one of Debian's next suite, and `containerd-2` where that is on the PATH.
 * @param cache - folder that keeps the downloaded one from run to run.
 * @throws Error if the next suite's can't be fetched.
 */
export async function findContainerds(cache: string): Promise<ContainerdPrograms[]> {
  const found: ContainerdPrograms[] = [];
  const installed = await findInstalled("containerd", ["ctr"]);
  if (installed !== undefined) found.push(installed);
  if (installed === undefined || !installed.version.startsWith("1.7."))
    found.push(await containerdOfNewerSuite(cache));
  const second = await findInstalled("containerd-2", ["ctr-2", "ctr"]);
  if (second !== undefined) found.push(second);
  return found;
}

async function findInstalled(
  name: string,
  ctrNames: readonly string[],
): Promise<ContainerdPrograms | undefined> {
  const containerd = findProgram(name, searchFolders());
  if (containerd === undefined) return undefined;
  // A link may stand for programs that live together elsewhere.
  const folders = [dirname(await realpath(containerd)), ...searchFolders()];
  const ctr = ctrNames.map((candidate) => findProgram(candidate, folders)).find(Boolean);
  return ctr === undefined ? undefined : describePrograms(containerd, ctr, folders);
}

async function describePrograms(
  containerd: string,
  ctr: string,
  folders: readonly string[],
): Promise<ContainerdPrograms> {
  const { stdout } = await command(containerd, ["--version"]);
  const version = /\bv?(\d+\.\d+\.\d+[^\s~+]*)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${containerd} tells no version: ${stdout}`);
  return { version, containerd, ctr, searchPath: [...new Set(folders)].join(delimiter) };
}

function searchFolders(): string[] {
  return [...(process.env["PATH"] ?? "").split(delimiter), ...SYSTEM_FOLDERS].filter(Boolean);
}

function findProgram(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Fetches the newer suite's package once, with an apt state of its own, and unpacks it beside the system, not into it. */
async function containerdOfNewerSuite(cache: string): Promise<ContainerdPrograms> {
  const target = join(cache, `containerd-${NEWER_SUITE}`);
  if (!existsSync(target)) {
    await mkdir(cache, { recursive: true });
    const work = await mkdtemp(join(cache, "apt-"));
    try {
      const file = await downloadFromSuite(work, "containerd", NEWER_SUITE);
      await command("dpkg", ["-x", file, join(work, "tree")]);
      await rename(join(work, "tree"), target);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  const folder = join(target, "usr/bin");
  return describePrograms(join(folder, "containerd"), join(folder, "ctr"), [
    folder,
    ...searchFolders(),
  ]);
}

async function downloadFromSuite(work: string, name: string, suite: string): Promise<string> {
  await mkdir(join(work, "lists/partial"), { recursive: true });
  await mkdir(join(work, "cache/archives/partial"), { recursive: true });
  await writeFile(join(work, "suite.sources"), await sourceOfSuite(suite));
  const options = [
    `Dir::Etc::sourcelist=${work}/suite.sources`,
    "Dir::Etc::sourceparts=-",
    `Dir::State::lists=${work}/lists`,
    `Dir::Cache=${work}/cache`,
    "Acquire::Languages=none",
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  await command("apt-get", [...options, "-qq", "update"]);
  await command("apt-get", [...options, "-qq", "download", name], { cwd: work });
  const file = (await readdir(work)).find((entry) => entry.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt-get downloaded no package ${name} of ${suite}`);
  return join(work, file);
}

/** A source entry for `suite` at the mirror from which this machine has its own suite. */
async function sourceOfSuite(suite: string): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8");
  const own = /^VERSION_CODENAME="?(\w+)/m.exec(release)?.[1] ?? "";
  for (const stanza of await sourceStanzas()) {
    const suites = stanza.get("suites")?.split(/\s+/) ?? [];
    if (!suites.includes(own) || !stanza.has("uris")) continue;
    const lines = [
      "Types: deb",
      `URIs: ${stanza.get("uris")}`,
      `Suites: ${suite}`,
      "Components: main",
    ];
    const signedBy = stanza.get("signed-by");
    return `${[...lines, ...(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`])].join("\n")}\n`;
  }
  throw new Error(`no apt source of this machine names its suite "${own}"`);
}

/** Fields (lower case) of each source of this machine, from both of apt's formats. */
async function sourceStanzas(): Promise<Map<string, string>[]> {
  const folder = "/etc/apt/sources.list.d";
  const names = await readdir(folder).catch(() => [] as string[]);
  const stanzas: Map<string, string>[] = [];
  for (const path of ["/etc/apt/sources.list", ...names.map((name) => join(folder, name))]) {
    const text = await readFile(path, "utf8").catch(() => ""); // the old list may be gone
    if (path.endsWith(".sources")) stanzas.push(...text.split(/\n\s*\n/).map(parseStanza));
    else stanzas.push(...text.split("\n").flatMap(parseSourceLine));
  }
  return stanzas;
}

function parseStanza(text: string): Map<string, string> {
  const fields = [...text.matchAll(/^([A-Za-z-]+):[ \t]*(.+)$/gm)];
  return new Map(
    fields.map(([, name, value]) => [(name ?? "").toLowerCase(), (value ?? "").trim()]),
  );
}

function parseSourceLine(line: string): Map<string, string>[] {
  const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line);
  if (match === null) return [];
  const [, options = "", uri = "", suite = ""] = match;
  const signedBy = /signed-by=(\S+)/.exec(options)?.[1];
  const fields: [string, string][] = [
    ["uris", uri],
    ["suites", suite],
  ];
  return [new Map(signedBy === undefined ? fields : [...fields, ["signed-by", signedBy]])];
}
