import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import {
  lstat,
  mkdir,
  readdir,
  readlink,
  realpath,
  rename,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type BuiltImage, command, type LayoutDescriptor, writeImage } from "@soci-ts/testkit";

/** The image is made of at least this much. */
const WANT_RAW_BYTES = 170_000_000;
const WANT_FILES = 3000;
/** Folders that most Debian machines have, taken in this order until there is enough. */
const FILLERS: readonly string[] = [
  "/usr/share/perl",
  "/usr/share/zoneinfo",
  "/usr/lib/python3",
  "/usr/share/perl5",
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/share/doc",
  "/usr/share",
];

/** The image made from files of this machine, and what it is made of. */
export interface MachineImage {
  readonly image: BuiltImage;
  readonly rawBytes: number;
  readonly files: number;
  /** Runs inside the image and prints one line. */
  readonly program: readonly string[];
}

const APP = `
const { readdirSync, statSync } = require("node:fs");
const size = statSync(process.execPath).size;
console.log("hello from Node " + process.version + " inside the image (" + readdirSync("/usr").length + " folders in /usr, an interpreter of " + size + " bytes)");
`;

/** Writes an image as an OCI layout: a shell and libraries; the Node interpreter; a few thousand files with a program. */
export async function buildMachineImage(directory: string): Promise<MachineImage> {
  const shell = await withLibraries(["/bin/sh", "/bin/ls", "/bin/cat", "/usr/bin/find"]);
  const node = await withLibraries([await realpath(process.execPath)]);
  const base = new FileList(shell);
  const runtime = new FileList(node);
  const rest = new FileList([]);
  for (const folder of FILLERS) {
    if (await isEnough([base, runtime, rest])) break;
    await rest.addTree(folder, [base, runtime]);
  }
  await mkdir(join(directory, "blobs/sha256"), { recursive: true });
  const app = join(directory, "app.js");
  await writeFile(app, APP);
  const layers = await Promise.all([
    writeLayer(directory, base, []),
    writeLayer(directory, runtime, []),
    writeLayer(directory, rest, [app]),
  ]);
  const lists = [base, runtime, rest];
  return {
    image: await writeImage(directory, layers),
    rawBytes: lists.reduce((sum, list) => sum + list.bytes, 0),
    files: lists.reduce((sum, list) => sum + list.paths.size, 0),
    program: [await realpath(process.execPath), "/app.js"],
  };
}

/** Absolute paths with every folder above them, in the order in which a tar wants them. */
class FileList {
  readonly paths = new Set<string>();
  bytes = 0;
  readonly #start: readonly string[];

  constructor(start: readonly string[]) {
    this.#start = start;
  }

  /** Adds the files that the list was made for; once. */
  async ready(): Promise<void> {
    for (const path of this.#start) if (!this.paths.has(path)) await this.#add(path);
  }

  async addTree(folder: string, others: readonly FileList[]): Promise<void> {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (this.paths.size > 2 * WANT_FILES && this.bytes > WANT_RAW_BYTES) return;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await this.addTree(path, others);
      else if (entry.isFile() || entry.isSymbolicLink()) {
        if (!others.some((other) => other.paths.has(path))) await this.#add(path);
      }
    }
  }

  /** A path through a link (Debian's /lib) brings the link itself and what it leads to. */
  async #add(path: string): Promise<void> {
    const real = join(await realpath(dirname(path)), path.slice(path.lastIndexOf("/") + 1));
    for (let at = path; at !== "/"; at = dirname(at)) await this.#put(at);
    for (let at = real; at !== "/"; at = dirname(at)) await this.#put(at);
    const link = await readlink(real).catch(() => undefined);
    if (link !== undefined && (await stat(real).catch(() => undefined))?.isFile()) {
      await this.#add(resolve(dirname(real), link));
    }
  }

  async #put(path: string): Promise<void> {
    if (this.paths.has(path)) return;
    // A folder that is reached through a link is not a name of its own in the tar.
    if ((await realpath(dirname(path))) !== dirname(path)) return;
    this.paths.add(path);
    const stats = await lstat(path);
    if (stats.isFile()) this.bytes += stats.size;
  }
}

async function isEnough(lists: readonly FileList[]): Promise<boolean> {
  for (const list of lists) await list.ready();
  const bytes = lists.reduce((sum, list) => sum + list.bytes, 0);
  const files = lists.reduce((sum, list) => sum + list.paths.size, 0);
  return bytes >= WANT_RAW_BYTES && files >= WANT_FILES;
}

/** The programs and every shared library that the loader would bring in. */
async function withLibraries(programs: readonly string[]): Promise<string[]> {
  const found = new Set<string>(programs);
  for (const program of programs) {
    const { stdout } = await command("ldd", [await realpath(program)]);
    for (const match of stdout.matchAll(/(\/\S+) \(0x/g)) found.add(match[1] ?? "");
  }
  return [...found];
}

interface Layer {
  readonly descriptor: LayoutDescriptor;
  readonly diffId: string;
}

/** One gzip layer, from GNU tar straight into the layout. */
async function writeLayer(
  directory: string,
  list: FileList,
  own: readonly string[],
): Promise<Layer> {
  const names = [...list.paths].sort().map((path) => path.slice(1));
  const options = [
    "--format=pax",
    "--no-recursion",
    "--null",
    "--numeric-owner",
    "--create",
    "--file=-",
  ];
  const added = own.flatMap((path) => [
    `--directory=${dirname(path)}`,
    path.slice(dirname(path).length + 1),
  ]);
  const tar = spawn("tar", [...options, "--directory=/", "--files-from=-", ...added], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  tar.stdin.end(names.join("\0"));
  const raw = createHash("sha256");
  const packed = createHash("sha256");
  const file = join(directory, `layer-${list.paths.size}.tmp`);
  tar.stdout.on("data", (chunk: Buffer) => raw.update(chunk));
  await pipeline(tar.stdout, createGzip({ level: 6, chunkSize: 262_144 }), createWriteStream(file));
  await pipeline(createReadStream(file), packed);
  const digest = packed.digest("hex");
  const { size } = await stat(file);
  await rename(file, join(directory, "blobs/sha256", digest));
  return {
    descriptor: {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: `sha256:${digest}`,
      size,
    },
    diffId: `sha256:${raw.digest("hex")}`,
  };
}
