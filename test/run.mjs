// Runs every test: unit tests two files at a time, then the end-to-end tests in lanes, the soak beside all of them; last what must run alone. Ends with the slowest files and
// with what was skipped, and why.
//   node test/run.mjs [--strict] [--only TEXT] [--lanes N] [--soak-minutes N] [--seed N] [--mutations N] [--scale]
// --strict makes a skipped test a failure (what CI uses); --only runs the files whose path holds TEXT; --lanes says how many end-to-end files
// run at a time; --soak-minutes is how long the soak does things at random (0.5 by default, CI runs 5, a night may run 30), and --seed repeats
// what the kill tests, the soak and the mutations did at random; --mutations says how many hostile inputs the readers of all formats get together
// (100000 by default); --scale starts 50 containers at once, and indexes layers of 20 GB and of a million files.
import { existsSync, readdirSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    strict: { type: "boolean" },
    only: { type: "string" },
    lanes: { type: "string", default: "2" },
    "soak-minutes": { type: "string" },
    seed: { type: "string" },
    mutations: { type: "string" },
    scale: { type: "boolean" },
  },
});
if (values["soak-minutes"] !== undefined)
  process.env.SOCI_TEST_SOAK_MINUTES = values["soak-minutes"];
if (values.scale) process.env.SOCI_TEST_SCALE = "1";
if (values.mutations !== undefined) process.env.SOCI_TEST_MUTATIONS = values.mutations;
if (values.seed !== undefined) process.env.SOCI_TEST_SEED = values.seed;

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

/** End-to-end tests that nothing may run beside, and why. */
const ALONE = {
  // Else mounts of others live on in the copy, and what serves them does not end.
  "systemd.e2e.js": "keeps a copy of the mount table for as long as it runs",
};

/** End-to-end tests that take minutes: they begin first, so that none of them is alone at the end. */
const LONG = [
  "hostile.e2e.js",
  "containerd-crash.e2e.js",
  "trees.e2e.js",
  "containerd.e2e.js",
  "containerd-trees.e2e.js",
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

/** Runs files, `concurrency` of them at a time; what they print comes file by file. One that takes longer than `timeoutMs` has failed. */
async function runFiles(files, concurrency, timeoutMs = 900_000) {
  if (files.length === 0) return;
  const stream = run({ files, concurrency, timeout: timeoutMs });
  const started = new Map();
  stream.on("test:dequeue", ({ name }) => {
    if (files.includes(name)) started.set(name, performance.now());
  });
  stream.on("test:complete", ({ name }) => {
    if (started.has(name)) times.push([name, performance.now() - started.get(name)]);
  });
  stream.on("test:pass", (event) => {
    if (event.skip !== undefined && event.skip !== false)
      skipped.push(`${event.name}: ${event.skip === true ? "no reason given" : event.skip}`);
    else if (event.details?.type !== "suite" && event.nesting >= 0 && !files.includes(event.name))
      counts.passed += 1;
  });
  stream.on("test:fail", (event) => {
    const path = relative(root, event.file ?? "");
    const isSuite = event.details?.type === "suite";
    failures.push({ isSuite, file: programOf(path), text: `${event.name} (${path})` });
  });
  const report = stream.compose(new spec());
  for await (const text of report) process.stdout.write(text);
}

/** The file that was run, of a source file that stack traces name. */
function programOf(source) {
  const built = source.replace(/^test\/(?!dist\/)/, "test/dist/");
  return join(root, built.replace("/src/", "/dist/").replace(/\.ts$/, ".js"));
}

/**
 * Runs what failed in the lanes again with nothing beside it: some end-to-end tests count on seconds that a machine busy with five others does not give
 * them. What passes then is no failure, and is named.
 */
async function runFailedAlone(files) {
  const again = files.filter((file) => failures.some((failure) => failure.file === file));
  if (again.length === 0 || again.length > MOST_AGAIN) return;
  const before = failures.filter(({ file }) => again.includes(file));
  for (const failure of before) failures.splice(failures.indexOf(failure), 1);
  console.log(`\nagain, by themselves: ${again.map((file) => basename(file)).join(", ")}`);
  await runFiles(again, 1);
  const stillFailing = new Set(failures.map(({ text }) => text));
  for (const { text, isSuite } of before) if (!isSuite && !stillFailing.has(text)) shaky.push(text);
}

/** More failures than this are no matter of chance. */
const MOST_AGAIN = 3;
const counts = { passed: 0 };
const skipped = [];
const failures = [];
/** Tests that failed beside others, and passed by themselves. */
const shaky = [];
/** Of each file that ran: its path, and how many milliseconds it took. */
const times = [];
const missing = NEEDS.filter(([, there]) => !there);
for (const [name, , fix] of missing)
  console.log(`not here, so tests that need it are skipped: ${name} (to enable: ${fix})`);

if (!has("containerd-2"))
  console.log("no containerd-2 on the PATH: containerd 2.x is left out, which counts as no skip");

const all = ["packages", "apps", "test"]
  .flatMap((folder) => [...testFiles(join(root, folder))])
  .filter((file) => values.only === undefined || file.includes(values.only))
  .sort();
const endToEnd = all.filter((file) => file.endsWith(".e2e.js"));
const isAlone = (file) => basename(file) in ALONE;
const isSoak = (file) => file.endsWith("/soak.e2e.js");
process.env.NODE_OPTIONS = "--enable-source-maps";
const soakMs = 60_000 * Number(values["soak-minutes"] ?? 0);
const soaking = runFiles(endToEnd.filter(isSoak), 1, 900_000 + soakMs);
await runFiles(
  all.filter((file) => file.endsWith(".test.js")),
  2,
);
const startedAt = performance.now();
// Their processes are many, and each would read the maps of all its modules.
delete process.env.NODE_OPTIONS;
const isLong = (file) => LONG.includes(basename(file));
const inLanes = endToEnd
  .filter((file) => !isSoak(file) && !isAlone(file))
  .sort((one, other) => Number(isLong(other)) - Number(isLong(one)));
await runFiles(inLanes, Number(values.lanes));
await soaking;
await runFailedAlone(inLanes);
await runFiles(endToEnd.filter(isAlone), 1);
const tookMs = performance.now() - startedAt;

console.log("\nslowest files:");
for (const [file, ms] of times.sort(([, a], [, b]) => b - a).slice(0, 10))
  console.log(`${(ms / 1000).toFixed(1).padStart(7)} s  ${relative(root, file)}`);
if (endToEnd.length > 0) console.log(`${(tookMs / 1000).toFixed(1)} s for the end-to-end tests`);
console.log("");
if (skipped.length === 0) console.log("nothing was skipped");
for (const line of skipped) console.log(`skipped: ${line}`);
for (const line of shaky) console.log(`failed beside others, passed by itself: ${line}`);
for (const { text } of failures) console.log(`failed: ${text}`);
const failed = failures.filter(({ isSuite }) => !isSuite).length;
console.log(`${counts.passed} passed, ${failed} failed, ${skipped.length} skipped`);
const isGreen =
  failures.length === 0 && counts.passed > 0 && !(values.strict && skipped.length > 0);
if (values.strict && skipped.length > 0) console.log("--strict: a skipped test is a failure");
process.exit(isGreen ? 0 : 1);
