// Makes each program that is started often into a few files, from what `tsc -b` built: `apps/<name>/bundle`, which `apps/<name>/bin` loads.
// Some two hundred modules cost such a program a third of its time to start. Modules that are loaded on demand stay files of their own.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
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

/** Threads are started by the name of their file, which has to lie beside the module that starts them: in a bundle all do. */
const THREAD = /new URL\("\.\/([\w-]+\.js)", import\.meta\.url\)/g;

const builtFiles = readdirSync(join(root, "packages"))
  .filter((name) => name !== "testkit")
  .flatMap((name) => {
    const dist = join(root, "packages", name, "dist");
    return readdirSync(dist, { recursive: true, encoding: "utf8" }).map((file) => join(dist, file));
  });

function threadModule(name) {
  const modules = builtFiles.filter((file) => basename(file) === name);
  if (modules.length === 1) return modules[0];
  throw new Error(`${modules.length} modules are called ${name}, want one`);
}

/** Bundles an entry point, and the threads that what came of it starts. */
async function bundle(entry, outdir) {
  // One at a time: threads share no modules with the program, so nothing is cut up for sharing.
  const { metafile } = await build({
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
    metafile: true,
    absWorkingDir: root,
  });
  for (const output of Object.keys(metafile.outputs)) {
    for (const [, name] of readFileSync(join(root, output), "utf8").matchAll(THREAD)) {
      if (!existsSync(join(outdir, name))) await bundle(threadModule(name), outdir);
    }
  }
}

for (const program of PROGRAMS) {
  const app = join(root, "apps", program);
  const outdir = join(app, "bundle");
  rmSync(outdir, { recursive: true, force: true });
  await bundle(join(app, "dist/main.js"), outdir);
}
