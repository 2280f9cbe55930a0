// Runs every test: unit tests two files at a time, then the end-to-end tests one by one. Ends with what was skipped, and why.
//   node test/run.mjs [--strict] [--only TEXT]
// --strict makes a skipped test a failure (what CI uses); --only runs the files whose path holds TEXT.
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { strict: { type: "boolean" }, only: { type: "string" } },
});
process.env.NODE_OPTIONS = "--enable-source-maps";

/** Where a package is not called as its program. */
const PACKAGES = { ctr: "containerd", getfattr: "attr", "systemd-analyze": "systemd" };
const NEEDS = [
  ["root", process.getuid() === 0, "run as root: mounts need it"],
  ["/dev/fuse", existsSync("/dev/fuse"), "modprobe fuse"],
  ...[
    "umoci",
    "containerd",
    "ctr",
    "runc",
    "docker-registry",
    "skopeo",
    "getfattr",
    "systemd-analyze",
  ].map((name) => [
    name,
    has(name),
    `apt-get install -y --no-install-recommends ${PACKAGES[name] ?? name}`,
  ]),
];

function has(program) {
  const folders = (process.env.PATH ?? "").split(":").concat("/usr/sbin", "/sbin");
  return folders.some((folder) => existsSync(join(folder, program)));
}

function* testFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "node_modules" && entry.name !== "testdata") yield* testFiles(path);
    } else if (/\.(test|e2e)\.js$/.test(entry.name) && path.includes("/dist/")) yield path;
  }
}

async function runFiles(files, concurrency) {
  if (files.length === 0) return;
  const stream = run({ files, concurrency, timeout: 900_000 });
  stream.on("test:pass", (event) => {
    if (event.skip !== undefined && event.skip !== false)
      skipped.push(`${event.name}: ${event.skip === true ? "no reason given" : event.skip}`);
    else if (event.details?.type !== "suite" && event.nesting >= 0 && !files.includes(event.name))
      counts.passed += 1;
  });
  stream.on("test:fail", (event) => {
    if (event.details?.type !== "suite") counts.failed += 1;
    failures.push(`${event.name} (${relative(root, event.file ?? "")})`);
  });
  stream.on("test:stderr", (event) => process.stderr.write(event.message));
  const report = stream.compose(new spec());
  for await (const text of report) process.stdout.write(text);
}

const counts = { passed: 0, failed: 0 };
const skipped = [];
const failures = [];
const missing = NEEDS.filter(([, there]) => !there);
for (const [name, , fix] of missing)
  console.log(`not here, so tests that need it are skipped: ${name} (to enable: ${fix})`);

if (!has("containerd-2"))
  console.log("no containerd-2 on the PATH: containerd 2.x is left out, which counts as no skip");

const all = ["packages", "apps", "test"]
  .flatMap((folder) => [...testFiles(join(root, folder))])
  .filter((file) => values.only === undefined || file.includes(values.only))
  .sort();
await runFiles(
  all.filter((file) => file.endsWith(".test.js")),
  2,
);
await runFiles(
  all.filter((file) => file.endsWith(".e2e.js")),
  1,
);

console.log("");
if (skipped.length === 0) console.log("nothing was skipped");
for (const line of skipped) console.log(`skipped: ${line}`);
for (const line of failures) console.log(`failed: ${line}`);
console.log(`${counts.passed} passed, ${counts.failed} failed, ${skipped.length} skipped`);
const isGreen =
  failures.length === 0 && counts.passed > 0 && !(values.strict && skipped.length > 0);
if (values.strict && skipped.length > 0) console.log("--strict: a skipped test is a failure");
process.exit(isGreen ? 0 : 1);
