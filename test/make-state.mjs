// Makes a daemon's root as this checkout's version leaves it, with the images that it has layers of: what upgrades and roll-backs are tested from.
//   node test/make-state.mjs DIR [PROGRAM]
// Needs root. DIR is made anew and has to be the same path where the root is used later, because records name files by absolute paths.
// PROGRAM is the soci-snapshotter to run, by default this checkout's. To keep the result:
//   tar -C DIR --sparse --numeric-owner -czf test/testdata/FORMAT.tar.gz .
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openContainerd } from "@soci-ts/containerd-api";
import {
  buildTar,
  gzipLayer,
  mountsBelow,
  processesNaming,
  pushLayout,
  seededBytes,
  startEmbeddedRegistry,
  writeLayout,
  writeRegistryHosts,
} from "@soci-ts/testkit";

const REGISTRY = "registry.test";
const [directory, program = fromHere("../apps/snapshotter/bin/soci-snapshotter.js")] =
  process.argv.slice(2);
const root = join(directory, "root");
const socket = join(directory, "s.sock");
const mountPoint = join(directory, "mnt");
/** The layer server writes its figures down after at most five seconds. */
const STATS_MS = 6000;

function fromHere(path) {
  return fileURLToPath(new URL(path, import.meta.url));
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

function must(file, ...args) {
  const { status, stderr } = spawnSync(file, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: ${stderr}`);
}

/** A layer of one folder; `bare` leaves the folder's own entry out, as many builders do. */
async function layer(folder, count, bare) {
  const files = Array.from({ length: count }, (_, at) => ({
    name: `${folder}/${at}`,
    content: seededBytes(24_000, 100 * folder.length + at),
  }));
  const folders = bare ? [] : [{ name: `${folder}/`, type: "directory", mode: 0o750, uid: 3 }];
  const blob = gzipLayer(await buildTar([...folders, ...files]));
  return { blob, files: files.map(({ name, content }) => [name, sha256(content)]) };
}

async function publish(registry, name, layers, isIndexed) {
  const layout = join(directory, "layouts", name);
  const image = await writeLayout(
    layout,
    layers.map(({ blob }) => blob),
  );
  const repository = `kept/${name}`;
  await pushLayout(image, registry.host, repository, "v1");
  if (isIndexed) {
    const flags = ["--push", "--min-layer-size", "0", "--span-size", "65536"];
    const store = join(directory, "builder");
    const soci = fromHere("../apps/cli/bin/soci.js");
    const reference = `${registry.host}/${repository}:v1`;
    must(process.execPath, soci, "--root", store, "create", ...flags, reference);
  }
  const chain = [];
  for (const { blob } of layers) {
    const below = chain.at(-1);
    chain.push(below === undefined ? blob.diffId : `sha256:${sha256(`${below} ${blob.diffId}`)}`);
  }
  return {
    name,
    reference: `${REGISTRY}/${repository}:v1`,
    repository,
    manifestDigest: image.manifest.digest,
    layerDigests: image.layers.map(({ digest }) => digest),
    chain,
    files: Object.fromEntries(layers.flatMap(({ files }) => files)),
  };
}

async function startDaemon() {
  const config = join(directory, "config.toml");
  await writeFile(config, `[registry]\nhosts_directory = "${join(directory, "hosts")}"\n`);
  const args = ["--root", root, "--address", socket, "--config", config, "--log-level", "warn"];
  const child = spawn(process.execPath, [program, ...args], { stdio: "inherit" });
  const deadline = Date.now() + 60_000;
  while (!(await connects()) && Date.now() < deadline) await delay(50);
  return child;
}

function connects() {
  return new Promise((resolve) => {
    const client = connect(socket, () => resolve(client.destroy() !== undefined));
    client.on("error", () => resolve(false));
  });
}

/** Asks for an image's layers as containerd does. Answers the name of the topmost snapshot. */
async function pull(snapshots, namespace, image) {
  let parent = "";
  for (const [at, chainId] of image.chain.entries()) {
    const labels = {
      "containerd.io/snapshot.ref": chainId,
      "containerd.io/snapshot/cri.image-ref": image.reference,
      "containerd.io/snapshot/cri.layer-digest": image.layerDigests[at],
      "containerd.io/snapshot/cri.manifest-digest": image.manifestDigest,
    };
    const key = `${namespace}/${at}/extract-${image.name}`;
    const outcome = await snapshots.prepare({ key, parent, labels }).catch(({ code }) => code);
    if (outcome !== "already_exists") throw new Error(`layer ${at} of ${image.name} is not lazy`);
    const filter = `labels."containerd.io/snapshot.ref"=="${chainId}",parent=="${parent}"`;
    for await (const { info } of snapshots.list({ filters: [filter] })) parent = info[0].name;
  }
  return parent;
}

/** Mounts what a snapshot says, works in it, unmounts. */
async function within(mounts, work) {
  await mkdir(mountPoint, { recursive: true });
  const [{ type, source, options }] = mounts;
  must("mount", "-t", type, source, mountPoint, "-o", options.join(","));
  try {
    await work(mountPoint);
  } finally {
    must("umount", mountPoint);
  }
}

async function fill(snapshots, lazy, whole) {
  const top = await pull(snapshots, "k8s.io", lazy);
  const streamed = await pull(snapshots, "default", whole);
  const container = { key: "k8s.io/10/container", parent: top, labels: { "test/who": "kept" } };
  const { mounts } = await snapshots.prepare(container);
  await within(mounts, async (path) => {
    // Some of the layer's spans, not all of them.
    await readFile(join(path, "bottom/0"));
    await writeFile(join(path, "written"), "in the container");
  });
  const draft = await snapshots.prepare({ key: "default/11/draft", parent: streamed });
  await within(draft.mounts, (path) => writeFile(join(path, "committed"), "in the image"));
  await snapshots.commit({ name: "default/12/committed", key: "default/11/draft" });
  await snapshots.view({ key: "default/13/view", parent: "default/12/committed" });
  const unpacked = await snapshots.prepare({ key: "default/14/extract" });
  await writeFile(join(unpacked.mounts[0].source, "unpacked"), "by containerd");
  await snapshots.commit({ name: "default/15/unpacked", key: "default/14/extract" });
}

/** As a reboot leaves it: nothing runs, nothing is mounted. */
async function end(daemon) {
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGTERM");
  await ended;
  for (const pid of await processesNaming(`--root\0${root}\0`)) process.kill(pid, "SIGKILL");
  for (const path of await mountsBelow(root)) must("umount", "-l", path);
  const id = sha256(root).slice(0, 8);
  await rm(join("/run/soci-snapshotter", id), { recursive: true, force: true });
}

async function main() {
  if (directory === undefined) throw new Error("usage: node test/make-state.mjs DIR [PROGRAM]");
  if (existsSync(root)) throw new Error(`there is a state in ${directory}, want none`);
  await mkdir(directory, { recursive: true });
  const registry = await startEmbeddedRegistry();
  try {
    await writeRegistryHosts(join(directory, "hosts"), { [REGISTRY]: registry.host });
    const lazy = [await layer("bottom", 7, false), await layer("bottom/deep", 2, true)];
    const images = [
      await publish(registry, "lazy", lazy, true),
      await publish(registry, "whole", [await layer("whole", 2, false)], false),
    ];
    const daemon = await startDaemon();
    const containerd = openContainerd(socket, { namespace: "default" });
    try {
      await fill(containerd.snapshots, ...images);
      await delay(STATS_MS);
    } finally {
      await containerd[Symbol.asyncDispose]();
      await end(daemon);
    }
    await writeFile(join(directory, "state.json"), JSON.stringify({ root, images }, undefined, 1));
  } finally {
    await registry[Symbol.asyncDispose]();
    // What only the making needed, and what names this machine.
    for (const name of ["builder", "hosts", "mnt", "s.sock", "config.toml", "root/keeper.log"])
      await rm(join(directory, name), { recursive: true, force: true });
  }
}

await main();
