import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BuiltImage,
  type BuiltLayerBlob,
  gzipLayer,
  type ImageRunConfig,
  writeLayout,
} from "./layout.ts";
import { command } from "./process.ts";

/** What every Debian image of the tests stands on: a shell and the C library. */
const BASE_PACKAGES: readonly string[] = ["base-files", "dash", "coreutils", "libc-bin"];

/** Where downloaded packages are kept, and what the image is made of. */
export interface DebianImageOptions {
  /** Folder for downloaded `.deb` files, reused by later builds. */
  readonly cache: string;
  /** Packages of the upper layer, with all that they depend on. */
  readonly packages: readonly string[];
  /** Packages of the base layer, if it is to be another than a shell and the C library. */
  readonly base?: readonly string[];
  /** Files of a third, small layer: path to content. */
  readonly extra?: Readonly<Record<string, string>>;
  readonly gzipLevel?: number;
  readonly run?: ImageRunConfig;
}

/** Builds an image of Debian packages as an OCI layout: a base layer, a package layer, and a small one where `extra` is given. */
export async function buildDebianImage(
  directory: string,
  options: DebianImageOptions,
): Promise<BuiltImage> {
  const work = await mkdtemp(join(tmpdir(), "soci-debian-"));
  try {
    const base = join(work, "base");
    const upper = join(work, "upper");
    const baseNames = await unpackPackages(options.cache, base, options.base ?? BASE_PACKAGES, []);
    await unpackPackages(options.cache, upper, options.packages, baseNames);
    const layers = [];
    for (const folder of [base, upper])
      layers.push(await layerOfDirectory(folder, options.gzipLevel));
    if (options.extra !== undefined) {
      const small = join(work, "extra");
      await writeFiles(small, options.extra);
      layers.push(await layerOfDirectory(small, options.gzipLevel));
    }
    return await writeLayout(directory, layers, options.run);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** A gzip layer holding a folder's files, by GNU tar in PAX format: times with nanoseconds, xattrs, sorted names, parents present. */
async function layerOfDirectory(directory: string, gzipLevel = 6): Promise<BuiltLayerBlob> {
  const file = `${directory}.tar`;
  await command("tar", [
    "--create",
    "--format=pax",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--xattrs",
    "--sort=name",
    "--numeric-owner",
    "--directory",
    directory,
    "--file",
    file,
    ".",
  ]);
  return gzipLayer(await readFile(file), gzipLevel);
}

async function unpackPackages(
  cache: string,
  directory: string,
  names: readonly string[],
  without: readonly string[],
): Promise<string[]> {
  await mkdir(cache, { recursive: true });
  await mkdir(directory, { recursive: true });
  const wanted = (await dependencyClosure(names)).filter((name) => !without.includes(name));
  for (const file of await download(cache, wanted)) {
    // By way of tar: dpkg-deb -x would put usrmerge's links out of the way of another package's folders.
    await command("sh", [
      "-c",
      'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"',
      file,
      directory,
    ]);
  }
  return wanted;
}

/** Names of the packages and of all that apt would install with them on a machine that has nothing. */
async function dependencyClosure(names: readonly string[]): Promise<string[]> {
  const options = [
    "Dir::State::status=/dev/null",
    "Dir::Cache::pkgcache=",
    "Dir::Cache::srcpkgcache=",
  ];
  const { stdout } = await command("apt-get", [
    ...options.flatMap((option) => ["-o", option]),
    ...["--simulate", "--no-install-recommends", "install"],
    ...(await versioned(names)),
  ]);
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? "").sort();
}

/** `NAME=VERSION` of each, with the newest version that a repository has: the installed one may have come from elsewhere. */
async function versioned(names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const { stdout } = await command("apt-cache", ["madison", ...names]);
  const newest = new Map<string, string>();
  for (const line of stdout.split("\n")) {
    const [name, version] = line.split("|").map((field) => field.trim());
    if (name && version && !newest.has(name)) newest.set(name, version);
  }
  const missing = names.filter((name) => !newest.has(name));
  if (missing.length > 0) throw new Error(`no repository has ${missing.join(", ")}`);
  return names.map((name) => `${name}=${newest.get(name)}`);
}

/** The packages' files in the cache, fetched where they are not there. */
async function download(cache: string, names: readonly string[]): Promise<string[]> {
  const find = (files: readonly string[], name: string): string | undefined =>
    files.find((file) => file.startsWith(`${name}_`) && file.endsWith(".deb"));
  const before = await readdir(cache);
  const absent = await versioned(names.filter((name) => find(before, name) === undefined));
  if (absent.length > 0) await command("apt-get", ["download", "-q", ...absent], { cwd: cache });
  const files = await readdir(cache);
  return names.map((name) => {
    const file = find(files, name);
    if (file === undefined) throw new Error(`apt-get downloaded no package ${name}`);
    return join(cache, file);
  });
}

/** Why packages can't be had from a repository, with what to do; false if they can. */
export async function debianSkipReason(): Promise<string | false> {
  try {
    await versioned(["dash"]);
    return false;
  } catch (error) {
    return `no Debian packages (to enable: apt-get update, on Debian): ${(error as Error).message.split("\n", 1)[0]}`;
  }
}

async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await command("sh", [
      "-c",
      'mkdir -p "$(dirname "$0")" && printf %s "$1" > "$0"',
      join(directory, path),
      content,
    ]);
  }
}
