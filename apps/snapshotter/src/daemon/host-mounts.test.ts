import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { requireHostMounts } from "./host-mounts.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/soci-snapshotter.js", import.meta.url));

describe("requireHostMounts()", () => {
  it("takes PID 1's namespace, a container's too, and one that nothing can be told of", () => {
    requireHostMounts(() => "mnt:[4026532000]");
    requireHostMounts((pid) => (pid === "1" ? undefined : "mnt:[4026532000]"));
    requireHostMounts(() => undefined);
  });

  it("refuses any other, and says what to do", () => {
    const other = (pid: string): string => (pid === "1" ? "mnt:[1]" : "mnt:[2]");
    const refused = { code: "failed_precondition", message: /PrivateTmp=.*nsenter/ };
    assert.throws(() => requireHostMounts(other), refused);
  });

  it("is asked by daemon and keeper before they touch anything", (t) => {
    // In a PID namespace of its own, since the machine's PID 1 may be one that nobody is allowed to look at.
    const container = ["--pid", "--fork", "--mount-proc"];
    if (spawnSync("unshare", [...container, "true"]).status !== 0) {
      t.skip("unshare is not permitted: run as root");
      return;
    }
    const folder = mkdtempSync(join(tmpdir(), "soci-ns-"));
    const root = join(folder, "r");
    const options = ["--root", root, "--address", join(folder, "s")];
    try {
      for (const role of [[], ["keeper"]]) {
        const script = 'unshare -m "$@"; exit $?';
        const command = [process.execPath, PROGRAM, ...options, ...role];
        const args = [...container, "sh", "-c", script, "sh", ...command];
        const { status, stderr } = spawnSync("unshare", args, {
          encoding: "utf8",
          timeout: 60_000,
        });
        assert.equal(status, 5, stderr);
        assert.match(stderr, /want that of PID 1/);
        assert.equal(existsSync(root), false);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
