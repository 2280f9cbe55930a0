import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { parse } from "smol-toml";
import { checkContainerdConfig, missingText } from "./containerd-checks.ts";
import {
  type ContainerdVersion,
  parseContainerdVersion,
  readContainerdConfig,
  valueAt,
} from "./containerd-config.ts";
import { parseSettings } from "./settings.ts";

const SETTINGS = parseSettings("").settings!;
const RELEASES = ["1.6", "1.7", "2.0", "2.1", "2.4"];

function release(text: string): ContainerdVersion {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  return { major, minor, from: "test" };
}

/** The parser's tables have no prototype, which strict equality sees. */
function plain(table: unknown): unknown {
  return JSON.parse(JSON.stringify(table));
}

function check(text: string, version: string, settings = SETTINGS) {
  return checkContainerdConfig(parse(text), settings, release(version));
}

describe("checkContainerdConfig()", () => {
  for (const version of RELEASES) {
    it(`lists for ${version} exactly the lines that mend an empty file`, () => {
      const { missing } = check("", version);
      assert.ok(missing.length >= 5);
      const mended = missingText(missing);
      assert.deepEqual(check(mended, version).missing, [], mended);
      for (const { line } of missing.filter(({ table }) => table !== "")) {
        const without = mended.replace(line, "");
        assert.ok(check(without, version).missing.length > 0, `${line} was not needed`);
      }
    });

    it(`finds nothing missing in the snippet for ${version}`, () => {
      const name = version.startsWith("2") ? "2" : version;
      const url = new URL(`../../../../deploy/containerd/containerd-${name}.toml`, import.meta.url);
      const { missing, notes } = check(readFileSync(url, "utf8"), version);
      assert.deepEqual(missing, []);
      assert.equal(notes.length, Number(version) >= 2.1 ? 1 : 0, notes.join());
    });
  }

  it("takes a file of version 2 on containerd 2, which migrates it", () => {
    const snippet = readFileSync(
      new URL("../../../../deploy/containerd/containerd-1.7.toml", import.meta.url),
      "utf8",
    );
    const lines = check(snippet, "2.0").missing.map(({ line }) => line);
    assert.deepEqual(lines, ['root = "/var/lib/soci-snapshotter"']);
  });

  it("sees another socket, another name, and labels that are off", () => {
    const { settings } = parseSettings('address = "/run/other.sock"');
    const snippet = readFileSync(
      new URL("../../../../deploy/containerd/containerd-1.6.toml", import.meta.url),
      "utf8",
    );
    assert.deepEqual(
      check(snippet, "1.6", settings).missing.map(({ line }) => line),
      ['address = "/run/other.sock"'],
    );
    const renamed = snippet.replace("proxy_plugins.soci", "proxy_plugins.lazy");
    assert.match(
      missingText(check(renamed, "1.6").missing),
      /\[proxy_plugins\.lazy\] is to be called \[proxy_plugins\.soci\]/,
    );
    const off = snippet.replace("annotations = false", "annotations = true");
    assert.deepEqual(
      check(off, "1.6").missing.map(({ line }) => line),
      ["disable_snapshot_annotations = false"],
    );
  });

  it("asks for CRI's labels on 2.1 only where CRI pulls by itself", () => {
    const text = missingText(check("", "2.1").missing);
    assert.doesNotMatch(text, /disable_snapshot_annotations/);
    const local = text.replace(
      'snapshotter = "soci"',
      'snapshotter = "soci"\ndiscard_unpacked_layers = true',
    );
    assert.match(
      missingText(check(local, "2.1").missing),
      /discard_unpacked_layers = true keeps CRI/,
    );
  });

  it("leaves CRI alone where it is disabled, and says so", () => {
    const { missing, notes } = check('version = 2\ndisabled_plugins = ["cri"]', "1.6");
    assert.ok(missing.every(({ table }) => !table.includes("cri")));
    assert.match(notes[0]!, /CRI is disabled/);
  });

  it("notes registry hosts that differ", () => {
    const { notes } = check("version = 2", "1.6");
    assert.match(
      notes[0]!,
      /from nowhere \(config_path\), lazy reads from \/etc\/containerd\/certs\.d/,
    );
  });
});

describe("readContainerdConfig()", () => {
  const files = (texts: Record<string, string>) => ({
    readFile: (path: string) => texts[path],
    glob: (pattern: string) => {
      const [head = "", tail = ""] = pattern.split("*");
      return Object.keys(texts).filter((path) => path.startsWith(head) && path.endsWith(tail));
    },
  });
  const texts = {
    "/etc/c/config.toml":
      'version = 2\nimports = ["conf.d/*.toml"]\n[plugins.x]\na = 1\n[proxy_plugins.soci]\ntype = "snapshot"\naddress = "/a"',
    "/etc/c/conf.d/1.toml":
      'version = 2\nimports = ["/etc/c/config.toml"]\n[plugins.x]\nb = 2\n[proxy_plugins.soci]\naddress = "/b"',
  };

  it("replaces whole plugins by imports up to 1.7, and merges them from 2.0 on", () => {
    const old = readContainerdConfig("/etc/c/config.toml", files(texts), release("1.7"));
    assert.deepEqual(plain(old["plugins"]), { x: { b: 2 } });
    const merged = readContainerdConfig("/etc/c/config.toml", files(texts), release("2.0"));
    assert.deepEqual(plain(merged["plugins"]), { x: { a: 1, b: 2 } });
    assert.deepEqual(plain(merged["proxy_plugins"]), { soci: { address: "/b" } });
    assert.equal(valueAt(merged, "plugins", "x", "b"), 2);
  });

  it("says which file is missing or broken", () => {
    const missing = { "/c.toml": 'imports = ["gone.toml"]' };
    assert.throws(() => readContainerdConfig("/c.toml", files(missing)), {
      code: "not_found",
      message: /"\/gone\.toml"/,
    });
    assert.throws(() => readContainerdConfig("/c.toml", files({ "/c.toml": "=" })), {
      code: "invalid_argument",
    });
  });
});

describe("parseContainerdVersion()", () => {
  it("reads what releases print", () => {
    const read = (text: string) => {
      const { major, minor } = parseContainerdVersion(text) ?? {};
      return `${major}.${minor}`;
    };
    assert.equal(
      read("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3"),
      "1.6",
    );
    assert.equal(
      read(
        "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376",
      ),
      "2.1",
    );
    assert.equal(parseContainerdVersion("something else"), undefined);
  });
});
