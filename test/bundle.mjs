// Makes each program that is started often into a few files, from what `tsc -b` built: `apps/<name>/bundle`, which `apps/<name>/bin` loads.
// Some two hundred modules cost such a program a third of its time to start. Modules that are loaded on demand stay files of their own.
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const PROGRAMS = ["cli", "snapshotter"];
/** Native, or read files of their own that lie beside them. */
const EXTERNAL = ["@grpc/*", "better-sqlite3", "cli-progress", "koffi", "pino", "prom-client"];
/** Packages that are not modules ask for Node's by `require`. */
const REQUIRE = `import { createRequire as requireOf } from "node:module";\nconst require = requireOf(import.meta.url);`;

const PART_OF_UNDICI = {
  name: "part of undici",
  setup(bundling) {
    const path = join(root, "packages/registry-client/bundled-undici.mjs");
    bundling.onResolve({ filter: /^undici$/ }, () => ({ path }));
  },
};

/** Threads are started by the name of their file, which has to lie beside the module that starts them: all do. */
const THREAD = /new Worker\(\s*new URL\("\.\/([\w-]+\.js)"/g;

/** The files below `folder` that can start threads or be one. */
function builtFiles(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js") && !/(^|\/)testing\/|\.(test|e2e)\.js$/.test(file))
    .map((file) => join(folder, file));
}

/** The modules of threads, by the files' names. */
function threadModules() {
  const packages = join(root, "packages");
  const files = readdirSync(packages)
    .filter((name) => name !== "testkit")
    .flatMap((name) => builtFiles(join(packages, name, "dist")));
  const names = files.flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(THREAD)].map(([, name]) => name),
  );
  return new Map(names.map((name) => [name, files.filter((file) => basename(file) === name)]));
}

const threads = threadModules();
for (const [name, files] of threads) {
  if (files.length !== 1) throw new Error(`${files.length} modules are called ${name}, want one`);
}
for (const program of PROGRAMS) {
  const app = join(root, "apps", program);
  const outdir = join(app, "bundle");
  rmSync(outdir, { recursive: true, force: true });
  // One at a time: threads share no modules with the program, so nothing is cut up for sharing.
  for (const entry of [join(app, "dist/main.js"), ...[...threads.values()].flat()]) {
    await build({
      entryPoints: [entry],
      outdir,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      target: "node20.19",
      external: EXTERNAL,
      plugins: [PART_OF_UNDICI],
      banner: { js: REQUIRE },
      logLevel: "warning",
    });
  }
}
