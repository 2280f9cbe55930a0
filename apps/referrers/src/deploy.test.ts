import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { DEFAULT_CONFIG_FILE, readConfig } from "./config.ts";

const DEPLOY = fileURLToPath(new URL("../../../deploy/", import.meta.url));
const PROGRAM = fileURLToPath(new URL("../bin/soci-referrers.js", import.meta.url));
const UNIT = readFileSync(join(DEPLOY, "systemd/soci-referrers.service"), "utf8");

describe("soci-referrers.service", () => {
  it("has the configuration and the folder that are the program's defaults", () => {
    const { config } = readConfig({}, { readFile: () => undefined });
    assert.match(UNIT, new RegExp(`^ExecStart=\\S+ --config ${DEFAULT_CONFIG_FILE}$`, "m"));
    assert.match(UNIT, /^StateDirectory=soci-referrers$/m);
    assert.equal(config!.root, "/var/lib/soci-referrers");
  });

  it("passes systemd-analyze verify", (t) => {
    if (spawnSync("systemd-analyze", ["--version"]).status !== 0) {
      t.skip("systemd-analyze is missing: apt-get install -y systemd");
      return;
    }
    const folder = mkdtempSync(join(tmpdir(), "soci-units-"));
    try {
      const path = join(folder, "soci-referrers.service");
      const text = UNIT.replace("/usr/local/bin/soci-referrers", PROGRAM);
      writeFileSync(path, text.replace(/^Documentation=.*$/m, ""));
      const args = ["verify", "--recursive-errors=no", path];
      const { status, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
      assert.deepEqual(
        stderr.split("\n").filter((line) => line.includes("soci-referrers")),
        [],
      );
      assert.equal(status, 0, stderr);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("deploy/README.md", () => {
  it("shows a configuration that is accepted", () => {
    const readme = readFileSync(join(DEPLOY, "README.md"), "utf8");
    const text = /```toml\n# \/etc\/soci-referrers\/config\.toml\n(.*?)```/s.exec(readme)?.[1];
    const { config, faults } = readConfig({}, { readFile: () => text });
    assert.deepEqual(faults, []);
    assert.equal(config?.rules.length, 2);
  });
});
