import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ConfigFault, faultText, parseSettings } from "./parse-settings.ts";
import { readSettings } from "./read-settings.ts";
import {
  defaultFile,
  settingsDocument,
  settingsFile,
  settingsMarkdown,
} from "./render-settings.ts";
import type { KeyKind } from "./table.ts";
import { checkValue, parseListen } from "./values.ts";

const TABLE = {
  "": {
    doc: "The head.",
    keys: {
      root: { kind: "path", default: "/data", doc: "Where.", flag: "--root" },
      url: { kind: "optional_url", default: "", doc: "Which." },
    },
  },
  limits: {
    doc: "Limits.",
    keys: { idle_ms: { kind: "milliseconds", default: 5, range: [1, 9], doc: "How long." } },
  },
  two_words: {
    doc: "Any number.",
    repeated: true,
    keys: {
      names: { kind: "words", default: ["a"], doc: "Who." },
      run: { kind: "command", default: [], doc: "What.", secret: true },
    },
  },
} as const;

const texts = (faults: readonly ConfigFault[]) => faults.map((fault) => faultText(fault, "f.toml"));

describe("parseSettings()", () => {
  it("gives defaults, camel case, frozen arrays of repeated tables, and lets overrides go first", () => {
    const text = 'root = "/x/"\n[[two_words]]\nnames = ["b", "c"]\n[[two_words]]';
    const { settings } = parseSettings(TABLE, text, { overrides: { root: undefined } });
    assert.equal(settings!.root, "/x");
    assert.equal(settings!.limits.idleMs, 5);
    assert.deepEqual(
      settings!.twoWords.map(({ names }) => names),
      [["b", "c"], ["a"]],
    );
    assert.ok(Object.isFrozen(settings!.twoWords[0]!.names));
    assert.equal(parseSettings(TABLE, text, { overrides: { root: "/y" } }).settings!.root, "/y");
  });

  it("reports every fault at once with its line, also those that a check across keys finds", () => {
    const text = 'rot = "/x"\nidle_ms = 3\n[limits]\nidle_ms = 90\n[two_words]\n[other]';
    const { settings, faults } = parseSettings(TABLE, text, {
      overrides: { root: "relative" },
      check: ({ limits }, report) => report("limits.idle_ms", `was ${limits.idleMs} to the check`),
    });
    assert.equal(settings, undefined);
    assert.deepEqual(texts(faults), [
      '--root is "relative", want an absolute path',
      "f.toml:1: rot is not known: did you mean root?",
      "f.toml:2: idle_ms is not known here: it stands in [limits]",
      "f.toml:4: limits.idle_ms is 90, want a whole number of milliseconds from 1 to 9",
      "f.toml:4: limits.idle_ms was 5 to the check",
      "f.toml:5: two_words is a single value, want [[two_words]], once for each entry",
      "f.toml:6: other is not known, want one of root, url, limits, two_words",
    ]);
  });
});

describe("readSettings()", () => {
  const read = (text: string | undefined, isNamed: boolean) =>
    readSettings(TABLE, { path: "/etc/f.toml", isNamed, readFile: () => text });

  it("takes the defaults where no file is, but not where one was named", () => {
    assert.equal(read(undefined, false).settings!.root, "/data");
    assert.equal(read(undefined, false).file, undefined);
    assert.equal(read("", true).file, "/etc/f.toml");
    assert.match(
      texts(read(undefined, true).faults)[0]!,
      /^--config is \/etc\/f\.toml, which does/,
    );
  });

  it("reports a file that can't be read", () => {
    const readFile = () => {
      throw new Error("EISDIR");
    };
    const { faults } = readSettings(TABLE, { path: "/etc", isNamed: false, readFile });
    assert.match(texts(faults)[0]!, /can't be read: .*EISDIR/);
  });
});

describe("settingsFile(), settingsDocument(), settingsMarkdown(), defaultFile()", () => {
  it("hide words that can be secrets, and are read again to the same", () => {
    const text = '[[two_words]]\nrun = ["/bin/x", "hunter2"]';
    const { settings } = parseSettings(TABLE, text);
    const file = settingsFile(TABLE, settings!);
    assert.match(file, /\[\[two_words\]\]\nnames = \["a"\]\nrun = \["\/bin\/x", "\(hidden\)"\]/);
    assert.doesNotMatch(JSON.stringify(settingsDocument(TABLE, settings!)), /hunter2/);
    assert.equal(parseSettings(TABLE, file).settings!.twoWords[0]!.run[0], "/bin/x");
    const defaults = defaultFile(TABLE, "prog");
    assert.match(defaults, /`prog config check` checks it/);
    assert.deepEqual(parseSettings(TABLE, defaults).settings, parseSettings(TABLE, "").settings);
    assert.match(settingsMarkdown(TABLE), /`\[\[two_words\]\]`: Any number/);
  });
});

describe("checkValue()", () => {
  it("tells good from bad for choices", () => {
    const spec = { kind: "choices", choices: ["a", "b"], default: [], doc: "" } as const;
    for (const value of [[], ["a"], ["b", "a"]]) assert.ok(checkValue(value, spec).ok);
    for (const value of ["a", ["c"], [1]]) assert.ok(!checkValue(value, spec).ok);
  });

  const rows: [kind: KeyKind, good: unknown[], bad: unknown[]][] = [
    ["listen", ["a:1", "127.0.0.1:0", "[::1]:5"], ["", "a", "a:65536", "[a]:1", "::1:80", 5]],
    ["optional_listen", ["", "a:1"], ["a"]],
    [
      "optional_url",
      ["", "https://r.example", "http://r.example:5000/x"],
      ["r.example", "ftp://r", "https://u:p@r", "https://r/?q", "https://r/#f", "http:// r", 1],
    ],
    ["optional_word", ["", "https://x"], ["a b", 1]],
    ["words", [[], ["a", "@b", "*"]], ["a", [""], ["a b"], [1]]],
    [
      "networks",
      [[], ["10.0.0.0/8", "::1", "fd00::/8", "192.0.2.1"]],
      ["::1", ["10.0.0.0/33"], ["10.0.0.0/8/8"], ["x"], ["::/129"], ["10.0.0.0/"], [4]],
    ],
  ];
  for (const [kind, good, bad] of rows) {
    it(`tells good from bad for ${kind}`, () => {
      const spec = { kind, default: "", doc: "" };
      for (const value of good) assert.ok(checkValue(value, spec).ok, JSON.stringify(value));
      for (const value of bad) assert.ok(!checkValue(value, spec).ok, JSON.stringify(value));
    });
  }
});

describe("parseListen()", () => {
  it("takes the brackets off an IPv6 address", () => {
    assert.deepEqual(parseListen("[::1]:80"), { host: "::1", port: 80 });
    assert.deepEqual(parseListen("localhost:0"), { host: "localhost", port: 0 });
  });
});
