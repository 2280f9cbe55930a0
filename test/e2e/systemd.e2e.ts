// The units of deploy/systemd under a real systemd, with a real containerd, while a container reads: upgrade, kill, stop, drain.
import assert from "node:assert/strict";
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openContainerd } from "@soci-ts/containerd-api";
import { DisposeStack } from "@soci-ts/core";
import {
  type ContainerdNode,
  type ContainerdPrograms,
  containerdConfig1,
  debianSkipReason,
  makeProgramFolder,
  removeProgramFolder,
  startDockerRegistry,
  writeRegistryHosts,
} from "@soci-ts/testkit";
import { collectGarbage } from "./daemon-leftovers.ts";
import { containerdsForTests, publish, REGISTRY } from "./node-fixture.ts";
import { SMALL_IMAGES } from "./node-images.ts";
import { pullWithLabels } from "./node-pull.ts";
import { type SystemdMachine, startSystemd, systemdObstacle, until } from "./systemd-machine.ts";

const HERE = fileURLToPath(new URL("../../..", import.meta.url));
const APP = join(HERE, "apps/snapshotter");
const DAEMON = "soci-snapshotter.service";
const KEEPER = "soci-snapshotter-keeper.service";

interface KeeperRecord {
  readonly pid: number;
  readonly program: { readonly version: string };
  readonly server: { readonly pid: number };
}

const SOCKET = "soci-snapshotter.socket";
const { python } = SMALL_IMAGES;
const PYTHON = `${REGISTRY}/${python.name}:v1`;

/** Reads every file below /usr over and over, past the page cache, until /w/stop is there; prints how many sums it has seen, and the errors. */
const READ_ON = `
import hashlib, os
rounds, sums, errors = 0, set(), []
while not os.path.exists("/w/stop"):
    sum = hashlib.sha256()
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            try:
                with open(path, "rb") as file:
                    sum.update(file.read())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError as error:
                errors.append(path + ": " + str(error))
    rounds += 1
    sums.add(sum.hexdigest())
    with open("/w/rounds", "w") as file:
        file.write(str(rounds))
print(len(sums), errors)
`;

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const programs = versions.find(({ version }) => version.startsWith("1."));
const skip = noContainerd || systemdObstacle() || (await debianSkipReason());

describe("under systemd", { skip, timeout: 300_000 }, () => {
  const stack = new DisposeStack();
  let folder: string;
  let machine: SystemdMachine;
  let node: ContainerdNode;
  let reading: Promise<string>;

  const status = async (): Promise<{ readonly version: string }> =>
    JSON.parse(await machine.run("soci-snapshotter", ...configured("--json", "status"))) as {
      readonly version: string;
    };
  const rounds = async (): Promise<number> =>
    Number(await readFile(join(folder, "work/rounds"), "utf8").catch(() => "0")); // not yet written
  /** A whole round begins and ends from now on. */
  const readOn = async (): Promise<void> => {
    const before = await rounds();
    await until("everything was read again", async () => (await rounds()) > before + 1);
  };
  /** Active snapshots, asked for at the daemon's socket by a client that has patience. */
  const call = async (): Promise<number> => {
    const path = machine.path("/run/soci-snapshotter/soci-snapshotter.sock");
    await using client = openContainerd(path, { namespace: "default" });
    let count = 0;
    const answers = client.snapshots.list({ filters: ["kind==active"] }, { timeoutMs: 60_000 });
    for await (const { info } of answers) count += info.length;
    return count;
  };

  /**
   * Whether containerd's own client gets through: for some seconds after the socket was not there it does not try, and a collection of garbage that this
   * refuses is not made up for.
   */
  const reaches = async (): Promise<boolean> => {
    const snapshots = ["snapshots", "--snapshotter", "soci"];
    try {
      await node.ctr("default", ...snapshots, "prepare", "probe");
    } catch {
      return false; // it is not there yet; the caller asks again
    }
    await node.ctr("default", ...snapshots, "remove", "probe");
    return true;
  };

  before(async () => {
    assert.ok(programs !== undefined);
    folder = await makeProgramFolder("soci-systemd");
    stack.defer(() => removeProgramFolder(folder));
    const registry = stack.use(await startDockerRegistry());
    const index = { store: join(folder, "builder"), minLayerBytes: 0 };
    await publish(registry.host, [{ image: python }], index);
    await writeRegistryHosts(join(folder, "hosts"), { [REGISTRY]: registry.host });
    await installVersion(folder, "1.0.0-one");
    await layOut(folder, programs);
    machine = stack.use(await startSystemd(folder));
    await machine.run("systemctl", "start", SOCKET, KEEPER, DAEMON, "containerd.service");
    node = nodeInside(folder, programs, machine);
    await pullWithLabels(node, {
      namespace: "default",
      snapshotter: "soci",
      host: registry.host,
      repository: python.name,
      tag: "v1",
      reference: PYTHON,
    });
    const work = `type=bind,src=${folder}/work,dst=/w,options=rbind:rw`;
    // Where cgroups of version 1 have the controllers, there are none inside, and so no shares.
    const options = ["--rm", "--snapshotter", "soci", "--cpu-shares", "0", "--mount", work];
    const program = ["/usr/bin/python3", "-c", READ_ON];
    reading = node.ctr("default", "run", ...options, PYTHON, "reader", ...program);
    await Promise.race([reading, until("something was read", async () => (await rounds()) > 0)]);
  });

  after(async () => {
    for (const name of [
      "soci-snapshotter.service",
      "soci-snapshotter-keeper.service",
      "containerd.service",
    ])
      console.log(
        name,
        (await readFile(join(folder, "log", name), "utf8").catch(() => "")).slice(-3000),
      );
    await stack[Symbol.asyncDispose]();
  });

  /** The keeper of the mounts and its layer server. */
  async function keeperRecord(): Promise<KeeperRecord> {
    const record = await machine.run("sh", "-c", "cat /run/soci-snapshotter/*/keeper.json");
    return JSON.parse(record) as KeeperRecord;
  }

  test("the units start, and the keeper is systemd's own", async () => {
    assert.equal((await status()).version, "1.0.0-one");
    for (const unit of [SOCKET, KEEPER, DAEMON])
      assert.equal(await machine.property(unit, "ActiveState"), "active", unit);
    const { pid, program } = await keeperRecord();
    assert.equal(program.version, "1.0.0-one");
    assert.equal(await machine.property(KEEPER, "MainPID"), String(pid));
  });

  test("a restart with a new version installed is an upgrade in place: calls wait, reads go on", async () => {
    const before = await keeperRecord();
    await installVersion(folder, "1.1.0-two");
    let isRestarting = true;
    const calls = (async () => {
      let count = 0;
      for (; isRestarting; count += 1) await call();
      return count;
    })();
    await machine.run("systemctl", "restart", DAEMON);
    isRestarting = false;
    assert.ok((await calls) > 0);
    assert.equal((await status()).version, "1.1.0-two");
    const after = await keeperRecord();
    assert.equal(after.program.version, "1.1.0-two");
    assert.notEqual(after.server.pid, before.server.pid);
    assert.equal(await machine.property(KEEPER, "MainPID"), String(after.pid));
    assert.equal(await machine.property(KEEPER, "ActiveState"), "active");
    await readOn();
  });

  test("a daemon that is killed is started again, as often as that happens", async () => {
    const kills = 6;
    for (let kill = 0; kill < kills; kill += 1) {
      const before = await machine.property(DAEMON, "MainPID");
      await machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", DAEMON);
      await until("another process runs", async () => {
        const now = await machine.property(DAEMON, "MainPID");
        return now !== before && now !== "0";
      });
    }
    await call();
    assert.equal((await status()).version, "1.1.0-two");
    assert.equal(await machine.property(DAEMON, "NRestarts"), String(kills));
    await readOn();
  });

  test("stopped, it leaves containers reading; with its socket back, the next call starts it", async () => {
    // As long as there is the socket, containerd's next attempt to connect starts the daemon.
    await machine.run("systemctl", "stop", SOCKET, DAEMON);
    assert.equal(await machine.property(DAEMON, "ActiveState"), "inactive");
    await readOn();
    await machine.run("systemctl", "start", SOCKET);
    await call();
    assert.notEqual(await machine.property(DAEMON, "MainPID"), "0");
  });

  test("no read failed all the while, and drain ends all", async () => {
    await until("containerd reaches the daemon again", reaches);
    await writeFile(join(folder, "work/stop"), "");
    assert.equal(await reading, "1 []\n");
    await until("containerd has removed its snapshot", async () => {
      await collectGarbage(node);
      return (await call()) === 0;
    });
    // Else its next attempt to connect would start a daemon again.
    await machine.run("systemctl", "stop", "containerd.service");
    await machine.run("soci-snapshotter", ...configured("drain"));
    await until("the units are inactive", async () => {
      const states = [DAEMON, KEEPER].map((unit) => machine.property(unit, "ActiveState"));
      return (await Promise.all(states)).every((state) => state === "inactive");
    });
    const mounts = await machine.run("cat", "/proc/self/mountinfo");
    assert.equal(mounts.includes(join(folder, "root")), false);
    assert.doesNotMatch(await machine.run("ps", "-e", "-o", "args"), /soci-snapshotter/);
  });
});

function configured(...args: readonly string[]): readonly string[] {
  return ["--config", "/etc/soci-snapshotter/config.toml", ...args];
}

/** Another copy of the program, of another version, at the place where the last one was. */
async function installVersion(folder: string, version: string): Promise<void> {
  const target = join(folder, "versions", version);
  await cp(join(APP, "bin"), join(target, "bin"), { recursive: true });
  await cp(join(APP, "bundle"), join(target, "bundle"), { recursive: true });
  const about = JSON.parse(await readFile(join(APP, "package.json"), "utf8")) as object;
  await writeFile(join(target, "package.json"), JSON.stringify({ ...about, version }));
  await rm(join(folder, "program.new"), { force: true });
  await symlink(join(target, "bin/soci-snapshotter.js"), join(folder, "program.new"));
  await rename(join(folder, "program.new"), join(folder, "program"));
}

/** Units, configurations, and where the copies find the packages. */
async function layOut(folder: string, programs: ContainerdPrograms): Promise<void> {
  await symlink(join(HERE, "node_modules"), join(folder, "node_modules"));
  await symlink(join(HERE, "proto"), join(folder, "proto"));
  await cp(join(HERE, "deploy/systemd"), join(folder, "units"), { recursive: true });
  const config = `root = "${folder}/root"\n[registry]\nhosts_directory = "${folder}/hosts"\n`;
  await writeFile(join(folder, "config.toml"), config);
  await mkdir(join(folder, "work"));
  const containerd = containerdConfig1({
    root: folder,
    socket: join(folder, "c.sock"),
    registryConfig: join(folder, "hosts"),
    sandboxImage: "none.test/none:none",
    snapshotter: "soci",
    proxy: {
      socket: "/run/soci-snapshotter/soci-snapshotter.sock",
      root: join(folder, "root"),
    },
  });
  await writeFile(join(folder, "containerd.toml"), containerd);
  // As containerd's own unit has it.
  const unit = `[Service]
Type=notify
Delegate=yes
KillMode=process
Environment=PATH=${programs.searchPath}
ExecStart=${programs.containerd} --config ${folder}/containerd.toml --log-level warn
`;
  await writeFile(join(folder, "units/containerd.service"), unit);
}

/** containerd's socket is a file that can be reached from outside. */
function nodeInside(
  folder: string,
  programs: ContainerdPrograms,
  machine: SystemdMachine,
): ContainerdNode {
  const socket = join(folder, "c.sock");
  return {
    socket,
    snapshotter: "soci",
    pid: 0,
    root: folder,
    ctr: (namespace, ...args) =>
      machine.run(programs.ctr, "--address", socket, "--namespace", namespace, ...args),
    log: () => readFile(join(folder, "log/containerd.service"), "utf8"),
    [Symbol.asyncDispose]: async () => {},
  };
}
