import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  camelCase,
  defaultFile,
  faultText,
  sectionsOf,
  settingsDocument,
  settingsFile,
} from "@soci-ts/settings";
import { parseSettings, type Settings } from "./settings.ts";
import { CONFIG_TABLE } from "./table.ts";

const SECTIONS = sectionsOf(CONFIG_TABLE);

function settingsOf(text: string): Settings {
  const { settings, faults } = parseSettings(text);
  assert.deepEqual(faults, []);
  return settings!;
}

function faultsOf(text: string, overrides = {}): string[] {
  const { settings, faults } = parseSettings(text, overrides);
  assert.equal(settings, undefined);
  return faults.map((fault) => faultText(fault, "c.toml"));
}

describe("parseSettings()", () => {
  it("gives the defaults for an empty file, and for the printed default file without its trust entry", () => {
    const empty = settingsOf("");
    assert.equal(empty.root, "/var/lib/soci-snapshotter");
    assert.equal(empty.mount.idleReleaseMs, 60_000);
    assert.deepEqual(empty.trust, []);
    assert.deepEqual(settingsOf(defaultFile(CONFIG_TABLE, "soci-snapshotter")), empty);
  });

  it("accepts the default file with every comment mark of its trust entry taken away", () => {
    const { trust } = settingsOf(
      defaultFile(CONFIG_TABLE, "soci-snapshotter").replace(
        /^# (\[\[trust|repos|require|digests)/gm,
        "$1",
      ),
    );
    assert.deepEqual(trust, [{ repositories: ["*"], require: "any", digests: [] }]);
  });

  it("reads every kind of value, and tidies paths", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const settings = settingsOf(`
root = "/data//soci/"
[mount]
door = "loop"
[credentials]
command = ["/usr/bin/helper", "--profile", "x"]
[metrics]
listen = "[::1]:9590"
[[trust]]
repositories = ["registry.example/team/*"]
require = "listed"
digests = ["${digest}"]
[[trust]]
require = "bound"
`);
    assert.equal(settings.root, "/data/soci");
    assert.equal(settings.mount.door, "loop");
    assert.deepEqual(settings.credentials.command, ["/usr/bin/helper", "--profile", "x"]);
    assert.equal(settings.trust[0]!.digests[0], digest);
    assert.equal(settings.trust[1]!.require, "bound");
    assert.ok(Object.isFrozen(settings.trust[0]));
  });

  it("reports all faults at once, with path and line", () => {
    const faults = faultsOf(
      [
        'rot = "/x"',
        'log_level = "loud"',
        "[mount]",
        'dor = "erofs"',
        "idle_release_ms = 1.5",
        "deadline_ms = 5",
        "[credentials]",
        "docker_config_files = [ # [",
        '  "relative",',
        "]",
        'command = "secret-word"',
        "[[trust]]",
        'require = "listed"',
        "[[trust]]",
        'digests = ["sha256:12"]',
        "[nonsense]",
        "a = 1",
      ].join("\n"),
    );
    assert.deepEqual(faults, [
      "c.toml:1: rot is not known: did you mean root?",
      'c.toml:2: log_level is "loud", want one of silent, error, warn, info, debug',
      "c.toml:4: mount.dor is not known: did you mean door?",
      "c.toml:5: mount.idle_release_ms is 1.5, want a whole number of milliseconds from 1000 to 86400000",
      "c.toml:6: mount.deadline_ms is not known here: it stands in [read]",
      'c.toml:8: credentials.docker_config_files is ["relative"], want a list of absolute paths',
      "c.toml:11: credentials.command is something else, want a program by its absolute path, and its arguments",
      'c.toml:12: trust.0.digests is empty, want a digest, since require = "listed"',
      'c.toml:15: trust.1.digests is ["sha256:12"], want a list of digests as sha256:…',
      `c.toml:16: nonsense is not known, want one of root, address, log_level, ${SECTIONS.slice(1)
        .map(([name]) => name)
        .join(", ")}`,
    ]);
  });

  it("refuses values that are no tables, single trust entries, and text that is no TOML", () => {
    assert.match(faultsOf("mount = 5")[0]!, /mount is 5, want a table/);
    assert.match(
      faultsOf('[hydrate]\nmax_bytes_per_second = "20 MiB"')[0]!,
      /max_bytes_per_second is "20 MiB", want a whole number of bytes from 1024 to/,
    );
    assert.match(
      faultsOf('[trust]\nrequire = "any"')[0]!,
      /c\.toml:1: trust is a single value, want \[\[trust\]\]/,
    );
    assert.match(faultsOf('root = "/a"\nroot = "/b"')[0]!, /^c\.toml:2: is no TOML/);
    assert.match(faultsOf("[__proto__]\nx = 1")[0]!, /is no TOML/);
  });

  it("lets options go before the file, and checks them alike", () => {
    const { settings } = parseSettings('root = "/a"', { root: "/b", log_level: undefined });
    assert.equal(settings!.root, "/b");
    assert.deepEqual(faultsOf('root = "/a"', { log_level: "loud", root: "" }), [
      '--log-level is "loud", want one of silent, error, warn, info, debug',
      '--root is "", want an absolute path',
    ]);
  });
});

describe("settingsFile()", () => {
  it("dumps what was read, but no words that can be secrets", () => {
    const settings = settingsOf(
      '[credentials]\ncommand = ["/bin/helper", "--token=hunter2"]\n[[trust]]\nrequire = "bound"',
    );
    const text = settingsFile(CONFIG_TABLE, settings);
    assert.doesNotMatch(text, /hunter2/);
    assert.doesNotMatch(JSON.stringify(settingsDocument(CONFIG_TABLE, settings)), /hunter2/);
    const again = settingsOf(text);
    assert.deepEqual({ ...again, credentials: settings.credentials }, settings);
  });
});

describe("CONFIG_TABLE", () => {
  it("has a unit in the name of every number with one, limits on every number, and defaults that pass their own check", () => {
    for (const [section, { keys }] of SECTIONS) {
      for (const [name, spec] of Object.entries(keys)) {
        if (spec.kind === "milliseconds") assert.match(name, /_ms$/);
        if (spec.kind === "bytes") assert.match(name, /_bytes(_per_second)?$/);
        if (typeof spec.default === "number") assert.ok(spec.range, `${section}.${name}`);
        assert.match(spec.doc, /\.$/, `${section}.${name}`);
        assert.notEqual(camelCase(name), "");
      }
    }
  });
});
