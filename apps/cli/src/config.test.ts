import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { loadConfig, type Surroundings } from "./config.ts";

const USER: Surroundings = { env: {}, userId: 1000, home: "/home/u", isTerminal: false };

describe("loadConfig()", () => {
  it("puts the store where it belongs", () => {
    assert.equal(loadConfig({}, { ...USER, userId: 0 }).root, "/var/lib/soci-ts");
    assert.equal(loadConfig({}, USER).root, "/home/u/.local/share/soci-ts");
    const xdg = { ...USER, env: { XDG_DATA_HOME: "/data" } };
    assert.equal(loadConfig({}, xdg).root, "/data/soci-ts");
    assert.equal(loadConfig({ root: "/srv/s" }, xdg).root, "/srv/s");
  });

  it("asks Podman's override first, then Docker's file, then Podman's", () => {
    const env = {
      REGISTRY_AUTH_FILE: "/auth.json",
      DOCKER_CONFIG: "/docker",
      XDG_RUNTIME_DIR: "/run/user/1000",
    };
    assert.deepEqual(loadConfig({}, { ...USER, env }).credentialFiles, [
      "/auth.json",
      "/docker/config.json",
      "/run/user/1000/containers/auth.json",
      "/home/u/.config/containers/auth.json",
    ]);
    assert.deepEqual(loadConfig({}, USER).credentialFiles, [
      "/home/u/.docker/config.json",
      "/home/u/.config/containers/auth.json",
    ]);
  });

  it("takes proxies and CAs from the environment, upper case first, empty as unset", () => {
    const env = {
      HTTPS_PROXY: "http://p:1",
      https_proxy: "http://q:1",
      http_proxy: "http://r:1",
      NO_PROXY: "",
      no_proxy: "localhost",
      SSL_CERT_FILE: "/ca.pem",
    };
    const config = loadConfig({}, { ...USER, env });
    assert.deepEqual(config.proxy, {
      httpsProxy: "http://p:1",
      httpProxy: "http://r:1",
      noProxy: "localhost",
    });
    assert.deepEqual(config.systemCaFiles, ["/ca.pem"]);
    assert.equal(loadConfig({}, USER).systemCaFiles, undefined);
  });

  it("reads from containerd where an option, but not where the environment names it", () => {
    const env = { CONTAINERD_ADDRESS: "/env.sock", CONTAINERD_NAMESPACE: "env" };
    const cases: readonly [object, Surroundings["env"], object][] = [
      [
        {},
        {},
        {
          address: "/run/containerd/containerd.sock",
          namespace: "default",
          isChosen: false,
        },
      ],
      [{}, env, { address: "/env.sock", namespace: "env", isChosen: false }],
      [
        { address: "unix:///a.sock" },
        env,
        { address: "/a.sock", namespace: "env", isChosen: true },
      ],
      [{ namespace: "n" }, env, { address: "/env.sock", namespace: "n", isChosen: true }],
      [{ contentStore: "soci" }, env, { address: "/env.sock", namespace: "env", isChosen: true }],
    ];
    for (const [flags, variables, expected] of cases) {
      assert.deepEqual(loadConfig(flags, { ...USER, env: variables }).containerd, expected);
    }
  });

  it("splits logins and directories, and takes no time for no limit", () => {
    const config = loadConfig({ user: "u:p:q", hostsDir: "/a,/b", debug: true, timeout: 0 }, USER);
    assert.deepEqual(config.login, { kind: "basic", username: "u", password: "p:q" });
    assert.deepEqual(config.hostsDirectories, ["/a", "/b"]);
    assert.equal(config.logLevel, "debug");
    assert.equal(config.timeoutMs, undefined);
    const login = loadConfig({ user: "u" }, USER).login;
    assert.deepEqual(login, { kind: "basic", username: "u", password: "" });
    assert.equal(loadConfig({ timeout: 5 }, USER).timeoutMs, 5);
  });

  it("lists all faults at once", () => {
    const flags = { root: "", caFile: "/no/such/file", logLevel: "loud" };
    assert.throws(
      () => loadConfig(flags, USER),
      (error) =>
        error instanceof AppError &&
        error.code === "invalid_argument" &&
        ["--root", "--ca-file", "--log-level"].every((flag) => error.message.includes(flag)),
    );
  });

  it("is frozen, and draws bars only on a capable terminal", () => {
    assert.ok(Object.isFrozen(loadConfig({}, USER)));
    const terminal = { ...USER, isTerminal: true };
    assert.equal(loadConfig({}, terminal).drawsBars, true);
    assert.equal(loadConfig({}, { ...terminal, env: { TERM: "dumb" } }).drawsBars, false);
    assert.equal(loadConfig({}, USER).drawsBars, false);
  });
});
