import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readMountTable } from "@soci-ts/linux";
import { command } from "@soci-ts/testkit";
import { runSoci, type SociRun } from "./run-soci.ts";

/** A mount that `soci mount` made. */
export interface TestMount {
  readonly target: string;
  readonly id: string;
  /** The serving process. */
  readonly pid: number;
  readonly lazyLayers: number;
  readonly wholeLayers: number;
  readonly door: string;
  /** What the mounting process said on stderr. */
  readonly stderr: string;
  /** Most memory that the mounting process, which is gone by now, had at a time. */
  readonly peakBytes: number;
  /** What the mount's log holds by now. */
  log(): Promise<string>;
}

const RUNTIME_ROOT = "/run/soci-ts";

/** A machine as far as `soci` is concerned: a store and mounts of its own, below one directory. Leaves nothing mounted and nobody running. */
export class TestNode implements AsyncDisposable {
  readonly directory: string;
  readonly root: string;
  readonly #ids = new Set<string>();
  readonly #targets = new Set<string>();

  constructor(directory: string) {
    this.directory = directory;
    this.root = join(directory, "store");
  }

  /** Runs a command with this node's store. */
  run(...args: readonly string[]): Promise<SociRun> {
    return runSoci(this.root, ...args);
  }

  /** An empty directory to mount on. */
  async target(name: string): Promise<string> {
    const path = join(this.directory, "mounts", name);
    if (this.#targets.has(path)) return path; // maybe with a dead mount on it
    await mkdir(path, { recursive: true });
    this.#targets.add(path);
    return path;
  }

  /** Mounts, and fails if that fails. */
  async mount(reference: string, name: string, ...options: readonly string[]): Promise<TestMount> {
    const target = await this.target(name);
    const { exitCode, document, error, stderr, peakBytes } = await this.run(
      "mount",
      reference,
      target,
      ...options,
    );
    assert.equal(exitCode, 0, `soci mount: ${error.message}\n${stderr}`);
    const mounted = document as unknown as TestMount & { readonly logPath: string };
    this.#ids.add(mounted.id);
    return { ...mounted, stderr, peakBytes, log: () => readFile(mounted.logPath, "utf8") };
  }

  /** Unmounts, and fails if that fails. */
  async unmount({ target }: Pick<TestMount, "target">): Promise<void> {
    const { exitCode, error } = await this.run("unmount", target);
    assert.equal(exitCode, 0, `soci unmount: ${error.message}`);
  }

  /** What is left of mounts: mount points, serving processes, records, runtime directories. Empty is right. */
  leftovers(): readonly string[] {
    const records = join(this.root, "mounts");
    return [
      ...this.#mountPoints().map((path) => `mount ${path}`),
      ...this.serverPids().map((pid) => `process ${pid}`),
      ...(existsSync(records) ? readdirSync(records) : [])
        .filter((name) => name !== "door.json")
        .map((name) => `record ${name}`),
      ...[...this.#ids]
        .map((id) => join(RUNTIME_ROOT, id))
        .filter((path) => existsSync(path))
        .map((path) => `directory ${path}`),
    ];
  }

  /** Processes that serve this node's mounts. */
  serverPids(): readonly number[] {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map(Number).filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return line.includes("serve-mount") && line.includes(this.root);
      } catch {
        return false; // it ended meanwhile
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#mountPoints()) {
      if (path.startsWith(this.directory)) await this.run("unmount", path);
    }
    for (const path of this.#mountPoints()) {
      await command("umount", ["-l", path]).catch(() => undefined);
    }
    for (const pid of this.serverPids()) process.kill(pid, "SIGKILL");
    for (const id of this.#ids) {
      // Empty directories only: whatever else is there is nothing to be deleted by a test.
      const path = join(RUNTIME_ROOT, id);
      if (existsSync(path))
        await command("find", [path, "-depth", "-type", "d", "-empty", "-delete"]);
    }
  }

  /** Mount points of this node, the last mounted first. */
  #mountPoints(): readonly string[] {
    const isOurs = (path: string): boolean =>
      path.startsWith(`${this.directory}/`) ||
      [...this.#ids].some((id) => path.startsWith(`${RUNTIME_ROOT}/${id}/`));
    return readMountTable()
      .map(({ mountPoint }) => mountPoint)
      .filter(isOurs)
      .reverse();
  }
}
