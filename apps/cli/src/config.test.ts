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
