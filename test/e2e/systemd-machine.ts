// A machine of its own as far as systemd is concerned: a real systemd as process 1 of new PID, mount, cgroup, IPC and UTS namespaces.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DisposeStack } from "@soci-ts/core";
import { command, startChild, stopChild } from "@soci-ts/testkit";

/** What is left of the machine's own paths inside; everything else there is the machine's. */
const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const SYSTEMD = "/lib/systemd/systemd";

/** Units that would tidy, set up or log for the whole machine, since it is not theirs. */
const MASKED: readonly string[] = [
  "systemd-tmpfiles-setup.service",
  "systemd-tmpfiles-setup-dev.service",
  "systemd-tmpfiles-clean.service",
  "systemd-tmpfiles-clean.timer",
  "systemd-sysctl.service",
  "systemd-udevd.service",
  "systemd-udev-trigger.service",
  "systemd-journald.service",
  "sysinit.target",
  "basic.target",
  "shutdown.target",
  "network-online.target",
];

/**
 * Makes the namespaces safe for the machine before systemd starts in them: mounts stay inside, /tmp is another one (systemd-tmpfiles once emptied
 * the real one), /etc and /usr/local/bin are copies on write. The test's folder and the repository stay, also if they lie in /tmp.
 */
const PREPARE = `
set -eu
folder=$1 repository=$2
mount --make-rprivate /
mount -t proc proc /proc
exec 8<"$folder" 9<"$repository"
mount -t tmpfs tmpfs /tmp
for kept in "8 $folder" "9 $repository"; do
  set -- $kept
  case $2 in /tmp/*) mkdir -p "$2"; mount --no-canonicalize --bind "/proc/self/fd/$1" "$2";; esac
done
exec 8<&- 9<&-
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/\${folder##*/}"
echo $$ > "/sys/fs/cgroup/\${folder##*/}/cgroup.procs"
exec unshare --cgroup bash "$folder/boot.sh" "$folder"
`;

const BOOT = `
set -eu
folder=$1
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
for place in /usr/local/bin /etc; do
  over=/run/over/\${place##*/}
  mkdir -p "$over/upper" "$over/work"
  mount -t overlay overlay -o "lowerdir=$place,upperdir=$over/upper,workdir=$over/work" "$place"
done
mount -t tmpfs tmpfs /etc/systemd/system
cp -r "$folder/units/." /etc/systemd/system/
mkdir -p /etc/soci-snapshotter
cp "$folder/config.toml" /etc/soci-snapshotter/
ln -s "$folder/program" /usr/local/bin/soci-snapshotter
export container=test
exec ${SYSTEMD} --system --unit=test.target --log-target=console --show-status=no
`;

/** A running systemd. */
export interface SystemdMachine extends AsyncDisposable {
  /** Runs a program inside and answers what it printed. */
  run(...command: readonly string[]): Promise<string>;
  /** A path inside, as it can be reached from outside. */
  path(inside: string): string;
  /** A property of a unit. */
  property(unit: string, name: string): Promise<string>;
}

/** Why there can be none here, or false. */
export function systemdObstacle(): string | false {
  if (process.getuid?.() !== 0) return "namespaces need root";
  return existsSync(SYSTEMD) ? false : "systemd is not installed";
}

/**
 * Starts systemd. `folder` holds `units/`, `config.toml` and the link `program`, which becomes /usr/local/bin/soci-snapshotter; its name must be
 * nobody else's. Units that don't say \`DefaultDependencies=no\` would pull in what is masked, so each gets a drop-in that says it, and
 * that has its output kept in \`folder/log/UNIT\`.
 */
export async function startSystemd(folder: string): Promise<SystemdMachine> {
  await using undo = new DisposeStack();
  const units = join(folder, "units");
  await addDropIns(folder, await readdir(units));
  await writeFile(join(units, "test.target"), "[Unit]\nDefaultDependencies=no\n");
  await writeFile(join(folder, "prepare.sh"), PREPARE);
  await writeFile(join(folder, "boot.sh"), BOOT);
  const namespaces = ["--pid", "--fork", "--mount", "--uts", "--ipc", "--kill-child"];
  const script = ["bash", join(folder, "prepare.sh"), folder, REPOSITORY];
  const child = startChild("unshare", [...namespaces, ...script], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  undo.defer(() => removeCgroup(basename(folder)));
  undo.defer(async () => {
    // It waits for systemd, and ignores all but this; systemd and all that runs inside go with it.
    child.kill("SIGKILL");
    await stopChild(child);
  });
  const pid = await firstProcess(child.pid ?? 0);
  const enter = ["--target", String(pid), "--mount", "--pid", "--uts", "--ipc"];
  const run = async (...line: readonly string[]): Promise<string> =>
    (await command("nsenter", [...enter, ...line], { timeoutMs: 240_000 })).stdout;
  await until("systemd answers", async () => {
    const state = await run("systemctl", "is-active", "test.target").catch(() => "");
    return state.trim() === "active";
  });
  const stack = undo.move();
  return {
    run,
    path: (inside) => join(`/proc/${pid}/root`, inside),
    property: async (unit, name) =>
      (await run("systemctl", "show", "--value", "--property", name, unit)).trim(),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

async function addDropIns(folder: string, names: readonly string[]): Promise<void> {
  await mkdir(join(folder, "log"), { recursive: true });
  for (const name of names) {
    const directory = join(folder, "units", `${name}.d`);
    await mkdir(directory);
    const log = join(folder, "log", name);
    const output = name.endsWith(".service")
      ? `[Service]\nStandardOutput=append:${log}\nStandardError=append:${log}\n`
      : "";
    await writeFile(join(directory, "test.conf"), `[Unit]\nDefaultDependencies=no\n${output}`);
  }
  for (const name of MASKED) {
    // An empty file masks a unit as a link to /dev/null does.
    await writeFile(join(folder, "units", name), "");
  }
}

/** The process that is number 1 inside. */
async function firstProcess(parent: number): Promise<number> {
  let pid = 0;
  await until("a process is in the new namespace", async () => {
    const path = `/proc/${parent}/task/${parent}/children`;
    pid = Number((await readFile(path, "latin1").catch(() => "")).trim().split(" ")[0]);
    return pid > 0;
  });
  return pid;
}

/** The cgroup v2 tree outside, wherever it is mounted. Its processes are gone, or about to be. */
async function removeCgroup(name: string): Promise<void> {
  const root = existsSync("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
  const path = join(root, name);
  await until("the cgroup can go", async () => {
    if (!existsSync(path)) return true;
    await command("find", [path, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]).catch(
      () => undefined, // not all of its processes are gone
    );
    return !existsSync(path);
  });
}

/** Asks every 50 ms, for half a minute. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Waited 30 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
