// Containers through CRI, as kubelet starts them.
import { randomUUID } from "node:crypto";
import { watch } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type criApi, openCri } from "@soci-ts/containerd-api";
import type { ContainerdNode } from "@soci-ts/testkit";

/** A pod on the host's network, and the containers that were started in it. */
export interface Pod extends AsyncDisposable {
  pull(reference: string): Promise<void>;
  removeImage(reference: string): Promise<void>;
  create(reference: string, command: readonly string[]): Promise<PodContainer>;
}

/** A container of a pod. */
export interface PodContainer {
  readonly id: string;
  start(): Promise<void>;
  /** Its first line of standard output, as soon as it is there. */
  firstLine(): Promise<string>;
  /** Waits for its end. */
  ended(): Promise<{ readonly exitCode: number; readonly output: string }>;
  exec(
    ...command: readonly string[]
  ): Promise<{ readonly exitCode: number; readonly output: string }>;
  remove(): Promise<void>;
}

const LONG = { timeoutMs: 240_000 };
const POD_LINUX = { securityContext: { namespaceOptions: { network: "NODE" } } } as const;

/** Starts a pod. Its sandbox image is pulled if it is not there. Disposed of, it is gone with its containers. */
export async function startPod(node: ContainerdNode): Promise<Pod> {
  const cri = openCri(node.socket);
  const id = randomUUID();
  const logDirectory = join(node.root, "work", id);
  await mkdir(logDirectory);
  const sandboxConfig = {
    metadata: { name: `pod-${id}`, uid: id, namespace: "default", attempt: 0 },
    logDirectory,
    linux: POD_LINUX,
  };
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config: sandboxConfig }, LONG);
  let count = 0;
  return {
    async pull(image) {
      await cri.images.pullImage({ image: { image }, sandboxConfig }, LONG);
    },
    async removeImage(image) {
      await cri.images.removeImage({ image: { image } });
    },
    async create(image, command) {
      count += 1;
      const logPath = `${count}.log`;
      const config = {
        metadata: { name: `container-${count}`, attempt: 0 },
        image: { image },
        command,
        logPath,
        linux: POD_LINUX,
      };
      const { containerId } = await cri.runtime.createContainer(
        { podSandboxId, config, sandboxConfig },
        LONG,
      );
      return podContainer(cri.runtime, containerId, join(logDirectory, logPath));
    },
    async [Symbol.asyncDispose]() {
      await cri.runtime.stopPodSandbox({ podSandboxId }, LONG);
      await cri.runtime.removePodSandbox({ podSandboxId }, LONG);
      await cri[Symbol.asyncDispose]();
    },
  };
}

function podContainer(
  runtime: ReturnType<typeof openCri>["runtime"],
  containerId: string,
  logFile: string,
): PodContainer {
  const status = async (): Promise<criApi.ContainerStatus | null> =>
    (await runtime.containerStatus({ containerId })).status;
  return {
    id: containerId,
    async start() {
      await runtime.startContainer({ containerId }, LONG);
    },
    async firstLine() {
      return await changed(logFile, async () => {
        const [line] = await outputLines(logFile);
        if (line !== undefined) return line;
        const now = await status();
        if (now?.state === "CONTAINER_EXITED" && (await outputLines(logFile)).length === 0)
          throw new Error(`the container ended with ${now.exitCode} and no output`);
        return undefined;
      });
    },
    async ended() {
      return await changed(logFile, async () => {
        const now = await status();
        if (now?.state !== "CONTAINER_EXITED") return undefined;
        return { exitCode: now.exitCode, output: (await outputLines(logFile)).join("\n") };
      });
    },
    async exec(...cmd) {
      const answer = await runtime.execSync({ containerId, cmd, timeout: 200 }, LONG);
      return { exitCode: answer.exitCode, output: String(answer.stdout) + String(answer.stderr) };
    },
    async remove() {
      await runtime.stopContainer({ containerId, timeout: 0 }, LONG);
      await runtime.removeContainer({ containerId });
    },
  };
}

/** Lines of standard output in a log in CRI's format: `TIME stdout F LINE`. */
async function outputLines(logFile: string): Promise<string[]> {
  const text = await readFile(logFile, "utf8");
  return text
    .split("\n")
    .map((line) => /^\S+ (?:stdout|stderr) F (.*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
}

/** Asks again each time a file changes, and every 100 ms, until there is an answer. */
async function changed<T>(file: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 240_000;
  let wake: () => void = () => {};
  const watcher = watch(join(file, ".."), (_, name) => {
    if (name === null || name === basename(file)) wake();
  });
  try {
    while (Date.now() < deadline) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const answer = await ask();
      if (answer !== undefined) return answer;
      const timer = setTimeout(() => wake(), 100);
      await woken;
      clearTimeout(timer);
    }
  } finally {
    watcher.close();
  }
  throw new Error(`Cannot see in ${file} what was waited for`);
}
