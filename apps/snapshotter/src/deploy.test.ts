import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { certsDirHosts } from "@soci-ts/registry-client";
import { parseSettings } from "./config/settings.ts";

const UNITS = fileURLToPath(new URL("../../../deploy/systemd/", import.meta.url));
const PROGRAM = fileURLToPath(new URL("../bin/soci-snapshotter.js", import.meta.url));

/** Options of systemd.exec(5) that give a unit a mount namespace. */
const NAMESPACE_OPTIONS =
  /^(Private(Tmp|Devices|Mounts|Users|IPC)|Protect(System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups|Hostname)|ProcSubset|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|Bind|BindReadOnly)Paths|TemporaryFileSystem|Root(Directory|Image)|Mount(Flags|Images|APIVFS)|Extension(Images|Directories)|DynamicUser|(Load|Set|Import)Credential\w*|LogNamespace|JoinsNamespaceOf)=/m;

function unit(name: string): string {
  return readFileSync(join(UNITS, name), "utf8");
}

describe("systemd units", () => {
  const names = readdirSync(UNITS).filter((name) => name.startsWith("soci-snapshotter"));

  it("give no process a mount namespace of its own", () => {
    assert.equal(names.length, 3);
    for (const name of names) assert.doesNotMatch(unit(name), NAMESPACE_OPTIONS, name);
  });

  it("listen where the default configuration says, for root only", () => {
    const { settings } = parseSettings("");
    assert.ok(unit("soci-snapshotter.socket").includes(`ListenStream=${settings!.address}\n`));
    assert.match(unit("soci-snapshotter.socket"), /^SocketMode=0600$/m);
  });

  it("keep the keeper alive: from the OOM killer, and from the daemon's restarts", () => {
    assert.match(unit("soci-snapshotter-keeper.service"), /^OOMScoreAdjust=-999$/m);
    assert.match(unit("soci-snapshotter.service"), /^KillMode=process$/m);
    assert.match(unit("soci-snapshotter.service"), /^Before=containerd\.service$/m);
    assert.doesNotMatch(unit("soci-snapshotter.service"), /^(BindsTo|PartOf|PropagatesStopTo)=/m);
  });

  it("start daemon and keeper again however often they are killed, and take a new keeper's word", () => {
    for (const name of ["soci-snapshotter.service", "soci-snapshotter-keeper.service"]) {
      assert.match(unit(name), /^Restart=on-failure\nRestartSec=500ms$/m, name);
      assert.match(unit(name), /^Type=notify\nNotifyAccess=all$/m, name);
    }
    assert.match(unit("soci-snapshotter-keeper.service"), /^StartLimitIntervalSec=0$/m);
    // Half a second apart, no more than 20 fit into the limit's ten.
    assert.match(
      unit("soci-snapshotter.service"),
      /^StartLimitIntervalSec=10\nStartLimitBurst=20$/m,
    );
    assert.match(unit("soci-snapshotter.service"), /^WatchdogSec=60$/m);
  });

  it("pass systemd-analyze verify", (t) => {
    if (spawnSync("systemd-analyze", ["--version"]).status !== 0) {
      t.skip("systemd-analyze is missing: apt-get install -y systemd");
      return;
    }
    const folder = mkdtempSync(join(tmpdir(), "soci-units-"));
    try {
      for (const name of names) {
        // Verify wants programs and documents that exist.
        const text = unit(name)
          .replaceAll("/usr/local/bin/soci-snapshotter", PROGRAM)
          .replace(/^Documentation=.*$/m, "");
        writeFileSync(join(folder, name), text);
      }
      const { status, stderr } = spawnSync(
        "systemd-analyze",
        ["verify", "--recursive-errors=no", ...names.map((name) => join(folder, name))],
        { encoding: "utf8" },
      );
      const own = stderr.split("\n").filter((line) => line.includes("soci-snapshotter"));
      assert.deepEqual(own, [], stderr);
      assert.equal(status, 0, stderr);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("containerd/certs.d", () => {
  it("makes a mirror of every registry that the node's client understands", async () => {
    const directory = fileURLToPath(new URL("../../../deploy/containerd/certs.d", import.meta.url));
    const config = await certsDirHosts({ directories: [directory] }).hostsFor("docker.io");
    const [mirror] = config?.hosts ?? [];
    assert.equal(mirror?.url?.origin, "https://soci-referrers.example:5000");
    assert.deepEqual([...mirror.capabilities].sort(), ["pull", "resolve"]);
  });
});
