import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Which package may import which: the rooms, lowest first. A name stands below all that may use it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // L0
  "packages/core": [],
  // L1
  "packages/oci": ["core"],
  "packages/gzip": ["core"],
  "packages/tar": ["core"],
  "packages/erofs": ["core"],
  "packages/fuse": ["core"],
  "packages/linux": ["core"],
  "packages/sqlite": ["core"],
  "packages/metrics": ["core"],
  "packages/settings": ["core"],
  // L2
  "packages/layer-index": ["core", "oci", "gzip", "tar", "erofs"],
  "packages/registry-client": ["core", "oci"],
  "packages/store": ["core", "oci", "sqlite"],
  // L3
  "packages/soci": ["core", "oci", "gzip", "tar", "layer-index", "registry-client", "store"],
  "packages/lazy-layer": ["core", "oci", "gzip", "tar", "linux", "layer-index", "registry-client"],
  "packages/registry-server": ["core", "oci", "sqlite", "registry-client"],
  // stubs
  "packages/containerd-api": ["core"],
  // L4
  "packages/snapshotter": [
    "core",
    "oci",
    "tar",
    "erofs",
    "fuse",
    "linux",
    "sqlite",
    "layer-index",
    "registry-client",
    "store",
    "soci",
    "lazy-layer",
  ],
  // L5
  "apps/cli": [
    "core",
    "oci",
    "containerd-api",
    "gzip",
    "erofs",
    "linux",
    "layer-index",
    "registry-client",
    "store",
    "soci",
    "lazy-layer",
    "snapshotter",
  ],
  "apps/referrers": ["core", "oci", "metrics", "settings", "registry-client", "registry-server"],
  "apps/snapshotter": [
    "core",
    "oci",
    "linux",
    "metrics",
    "settings",
    "containerd-api",
    "registry-client",
    "store",
    "soci",
    "snapshotter",
  ],
  // tests only
  "packages/testkit": [],
};

/** What only one room may know. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  fastify: ["apps/referrers"],
  "@grpc/grpc-js": ["packages/containerd-api", "apps/snapshotter"],
  "@grpc/proto-loader": ["packages/containerd-api"],
  "better-sqlite3": ["packages/sqlite"],
  bcryptjs: ["packages/registry-server"],
  undici: ["packages/registry-client"],
  koffi: ["packages/gzip", "packages/linux", "packages/testkit", "packages/erofs"],
  pako: ["packages/gzip"],
  flatbuffers: ["packages/layer-index"],
  pino: ["apps/cli", "apps/referrers", "apps/snapshotter"],
  "prom-client": ["packages/metrics"],
  "smol-toml": ["apps/snapshotter", "packages/registry-client", "packages/settings"],
  commander: ["apps/cli", "apps/referrers", "apps/snapshotter"],
};

interface PackageJson {
  readonly name: string;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
}

for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
  const manifest = readJson<PackageJson>(join(ROOT, folder, "package.json"));
  const sources = importsBelow(join(ROOT, folder, "src"));
  const inSources = ownNames(sources.source);
  const inTests = ownNames(sources.tests);

  test(`${folder} imports only what its room may`, () => {
    assert.deepEqual(
      inSources.filter((name) => !allowed.includes(name)),
      [],
    );
    assert.deepEqual(
      inTests.filter(
        (name) => !allowed.includes(name) && name !== "testkit" && `packages/${name}` !== folder,
      ),
      [],
    );
  });

  test(`${folder} declares in package.json exactly what it imports`, () => {
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
    assert.deepEqual(declared.sort(), [...new Set(sources.source)].sort());
    const dev = Object.keys(manifest.devDependencies ?? {}).filter(
      (name) => !name.startsWith("@types/"),
    );
    const used = new Set(
      sources.tests.filter((name) => !declared.includes(name) && name !== manifest.name),
    );
    assert.deepEqual(dev.sort(), [...used].sort());
  });

  test(`${folder} names its imports as TypeScript references`, () => {
    const source = references(join(ROOT, folder, "tsconfig.json"));
    assert.deepEqual(source, inSources);
    const tests = references(join(ROOT, folder, "tsconfig.test.json"));
    const missing = inTests.filter(
      (name) => !tests.includes(name) && `packages/${name}` !== folder,
    );
    assert.deepEqual(missing, []);
  });

  test(`${folder} knows no foreign library that belongs to another room`, () => {
    const outsiders = sources.source.filter(
      (name) => FOREIGN[name] && !FOREIGN[name].includes(folder),
    );
    assert.deepEqual(outsiders, []);
  });
}

test("every workspace folder is in the table and in the root tsconfig", () => {
  const folders = ["packages", "apps"].flatMap((kind) =>
    readdirSync(join(ROOT, kind)).map((name) => `${kind}/${name}`),
  );
  assert.deepEqual(folders.sort(), Object.keys(MAY_IMPORT).sort());
  const { references: listed } = readJson<{ references: { path: string }[] }>(
    join(ROOT, "tsconfig.json"),
  );
  const paths = listed.map(({ path }) => path);
  for (const folder of folders) {
    assert.ok(paths.includes(`./${folder}`), `${folder} is missing in tsconfig.json`);
    assert.ok(
      paths.includes(`./${folder}/tsconfig.test.json`),
      `${folder}'s tests are missing in tsconfig.json`,
    );
  }
});

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

function references(path: string): string[] {
  const { references: listed = [] } = readJson<{ references?: { path: string }[] }>(path);
  return listed
    .map(({ path: target }) => target)
    .filter((target) => target !== ".")
    .map((target) => target.split("/").at(-1) ?? "")
    .sort();
}

/** Names of our own packages among `imports`, without the scope, sorted. */
function ownNames(imports: readonly string[]): string[] {
  const own = imports.filter((name) => name.startsWith("@soci-ts/"));
  return [...new Set(own.map((name) => name.slice("@soci-ts/".length)))].sort();
}

/** Package names imported below a folder: by sources, and by tests. Node's own modules and relative paths are left out. */
function importsBelow(folder: string): { source: string[]; tests: string[] } {
  const found = { source: [] as string[], tests: [] as string[] };
  if (!existsSync(folder)) return found;
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts")) continue;
    const isTest = /\.(test|e2e)\.ts$/.test(file) || file.includes("testing/");
    found[isTest ? "tests" : "source"].push(
      ...importedPackages(readFileSync(join(folder, file), "utf8")),
    );
  }
  return found;
}

function importedPackages(text: string): string[] {
  const specifiers = [
    ...text.matchAll(
      /^\s*(?:import|export)[^;"']*?from\s+["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']|^import\s+["']([^"']+)["']|createRequire\(import\.meta\.url\)\(["']([^"']+)["']/gm,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? "");
  return specifiers
    .filter((name) => name !== "" && !name.startsWith(".") && !name.startsWith("node:"))
    .map((name) =>
      name
        .split("/")
        .slice(0, name.startsWith("@") ? 2 : 1)
        .join("/"),
    );
}
