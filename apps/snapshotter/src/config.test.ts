import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_CONFIG_FILE, loadConfig, readConfig, type Surroundings } from "./config.ts";

function surroundings(
  files: Record<string, string>,
  env: Record<string, string> = {},
): Surroundings {
  return { env, readFile: (path) => files[path] };
}

describe("loadConfig()", () => {
  it("takes flags over the file over the defaults, and freezes the result", () => {
    const config = loadConfig(
      { root: "/flag", logLevel: "debug", json: true },
      surroundings(
        { [DEFAULT_CONFIG_FILE]: 'root = "/file"\naddress = "/run/x.sock"' },
        { LISTEN_FDS: "1", HTTPS_PROXY: "" },
      ),
    );
    assert.equal(config.root, "/flag");
    assert.equal(config.address, "/run/x.sock");
    assert.equal(config.logLevel, "debug");
    assert.equal(config.mount.door, "auto");
    assert.equal(config.configFile, DEFAULT_CONFIG_FILE);
    assert.equal(config.activation.listenFds, "1");
    assert.equal(config.proxy.httpsProxy, undefined);
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.mount));
  });

  it("does without the file at its usual place, but not without one that was asked for", () => {
    assert.equal(loadConfig({}, surroundings({})).configFile, undefined);
    assert.throws(() => loadConfig({ config: "/etc/none.toml" }, surroundings({})), {
      code: "invalid_argument",
      message: "Cannot use the configuration: --config is /etc/none.toml, which does not exist",
    });
  });

  it("lists every fault in one error", () => {
    assert.throws(
      () =>
        loadConfig(
          { config: "/c.toml", logLevel: "x" },
          surroundings({ "/c.toml": "a = 1\n[b]\n" }),
        ),
      /--log-level is "x".*; \/c\.toml:1: a is not known.*; \/c\.toml:2: b is not known/,
    );
  });
});

describe("readConfig()", () => {
  it("reports a file that can't be read as a fault", () => {
    const broken = {
      env: {},
      readFile: () => {
        throw Object.assign(new Error("EISDIR: is a directory"), { code: "EISDIR" });
      },
    };
    const { config, faults } = readConfig({ config: "/c.toml" }, broken);
    assert.equal(config, undefined);
    assert.match(faults[0]!.message, /can't be read: EISDIR/);
  });
});
