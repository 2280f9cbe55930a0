import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DisposeStack, silentLogger, silentMetrics } from "@soci-ts/core";
import type { NodeLayers } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import type { Program } from "../node/keeper-record.ts";
import { startMountHelper } from "../node/mount-helper.ts";
import {
  type LazyNodeLayers,
  type NodeLayersOptions,
  openNodeLayers,
} from "../node/node-layers.ts";
import type { ServerCommand } from "../server-process.ts";

/** What the node's processes are started as. */
export type NodeRole = "keeper" | "serve-layers" | "image-worker" | "mount-helper" | "daemon";

const SCRIPT = fileURLToPath(new URL("./node-child.js", import.meta.url));

/** How the tests start a process of a node. */
export function nodeCommand(
  role: NodeRole,
  root: string,
  ...args: readonly string[]
): ServerCommand {
  return {
    argv: [process.execPath, "--enable-source-maps", SCRIPT, role, root, ...args],
    environment: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  };
}

/** What the tests' processes say they are. */
export function testProgram(version: string): Program {
  return { version, path: SCRIPT };
}

/** Opens a node's layers with the processes of {@link nodeCommand}; what is returned closes its mount helper, too. */
export async function openTestLayers(
  root: string,
  door: Door,
  options: Partial<NodeLayersOptions> = {},
): Promise<LazyNodeLayers> {
  await using undo = new DisposeStack();
  const mounter = undo.use(startMountHelper(nodeCommand("mount-helper", root)));
  const layers = await openNodeLayers({
    root,
    door,
    mounter,
    local: "auto",
    keeper: nodeCommand("keeper", root),
    program: testProgram("1"),
    worker: nodeCommand("image-worker", root),
    policyOf: () => "any",
    idleReleaseMs: 60_000,
    failureMemoryMs: 1000,
    logger: silentLogger,
    metrics: silentMetrics,
    ...options,
  });
  const stack = undo.move();
  const close = layers[Symbol.asyncDispose].bind(layers);
  layers[Symbol.asyncDispose] = async () => {
    await close();
    await stack[Symbol.asyncDispose]();
  };
  return layers;
}

/** Processes of a node that are alive, by what they are. */
export function nodeProcesses(root: string, role?: NodeRole): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const [, , script, itsRole, itsRoot] = commandOf(pid);
    return script === SCRIPT && itsRoot === root && (role === undefined || itsRole === role);
  });
}

/** Of a process that is gone, or dead and not yet reaped: nothing. */
function commandOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** Layers that somebody else closes. */
export function borrowed(layers: NodeLayers): NodeLayers {
  return {
    prepareLayer: (...args) => layers.prepareLayer(...args),
    mountLayers: (...args) => layers.mountLayers(...args),
    retain: (needed) => layers.retain(needed),
    removeLayers: (gone) => layers.removeLayers(gone),
    layerUsage: (layer) => layers.layerUsage(layer),
    async [Symbol.asyncDispose]() {},
  };
}
