import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, realpath, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type BuiltImage, type LayoutDescriptor, writeImage } from "@soci-ts/testkit";
import { FileList, withLibraries } from "./file-list.ts";
import { findInterpreter } from "./interpreter.ts";

/** The image is made of at least this much. */
const WANT_RAW_BYTES = 250_000_000;
const WANT_FILES = 5000;
/** Folders that most Debian machines have, taken in this order until there is enough. */
const FILLERS: readonly string[] = [
  "/usr/share/perl",
  "/usr/share/perl5",
  "/usr/share/zoneinfo",
  "/usr/share/doc",
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/bin",
  "/usr/share",
];

/** The image made from files of this machine, and what it is made of. */
export interface MachineImage {
  readonly image: BuiltImage;
  readonly rawBytes: number;
  readonly files: number;
  /** The interpreter's name. */
  readonly language: string;
  /** Runs inside the image and prints one line. */
  readonly program: readonly string[];
  /** Name of the script, in the topmost layer. */
  readonly scriptName: string;
}

/** Writes an image as an OCI layout: a shell; an interpreter with its library; Node, a few thousand more files, and a program. */
export async function buildMachineImage(directory: string): Promise<MachineImage> {
  const interpreter = await findInterpreter();
  const base = new FileList();
  await base.addFiles(await withLibraries(["/bin/sh", "/bin/ls", "/bin/cat", "/usr/bin/find"]));
  const runtime = new FileList();
  await runtime.addFiles(await withLibraries([interpreter.binary]));
  for (const folder of interpreter.libraries) await runtime.addTree(folder);
  const rest = new FileList();
  await rest.addFiles(await withLibraries([await realpath(process.execPath)]));
  const lists = [base, runtime, rest];
  const sum = (of: (list: FileList) => number): number =>
    lists.reduce((total, list) => total + of(list), 0);
  const isEnough = (): boolean =>
    sum((list) => list.bytes) >= WANT_RAW_BYTES && sum((list) => list.paths.size) >= WANT_FILES;
  for (const folder of FILLERS) await rest.addTree(folder, [base, runtime], isEnough);

  await mkdir(join(directory, "blobs/sha256"), { recursive: true });
  const script = join(directory, interpreter.scriptName);
  await writeFile(script, interpreter.script);
  const layers = await Promise.all([
    writeLayer(directory, base, []),
    writeLayer(directory, runtime, []),
    writeLayer(directory, rest, [script]),
  ]);
  return {
    image: await writeImage(directory, layers),
    rawBytes: sum((list) => list.bytes),
    files: sum((list) => list.paths.size),
    language: interpreter.name,
    program: [interpreter.binary, `/${interpreter.scriptName}`],
    scriptName: interpreter.scriptName,
  };
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
