// Runs the unit tests of the codecs and prints how many of their lines these reach, by package, and by file where it is less than is wanted. Ends with 1 if a package is
// below that.
//   node test/coverage.mjs [--least PERCENT]
// Lines are those of the built files that hold code; tests, and what only tests use, do not count. Node's own report fails on Node 20 ("reading 'line'"), so
// what V8 measured is read here.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({ options: { least: { type: "string", default: "95" } } });
const CODECS = ["oci", "gzip", "tar", "erofs", "layer-index", "fuse"];
/** What talks to the kernel, so that only end-to-end tests reach all of it. */
const NO_CODEC = /fuse\/dist\/(session|channel|thread-channel|fuse-thread)\.js$/;
/** Hostile inputs reach the same lines with fewer of them. */
const MUTATIONS = "10000";

/** Files below a package's `dist`. */
function built(name, pick) {
  const dist = join(root, "packages", name, "dist");
  return readdirSync(dist, { recursive: true, encoding: "utf8" })
    .filter(pick)
    .map((file) => join(dist, file));
}

const isTest = (file) => file.endsWith(".test.js");
const isSource = (file) =>
  file.endsWith(".js") && !/\.(test|e2e)\.js$|(^|\/)testing\/|(^|\/)index\.js$/.test(file);

function runTests(folder) {
  const tests = CODECS.flatMap((name) => built(name, isTest));
  const env = { ...process.env, NODE_V8_COVERAGE: folder, SOCI_TEST_MUTATIONS: MUTATIONS };
  const options = { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28, env };
  const { status, stdout } = spawnSync(process.execPath, ["--test", ...tests], options);
  if (status === 0) return;
  console.log(
    stdout
      .split("\n")
      .filter((line) => /^\s*not ok/.test(line))
      .join("\n"),
  );
  throw new Error("the tests do not pass");
}

/** For each file by URL: of each character, whether any process reached it. */
function readReached(folder, urls) {
  const reached = new Map();
  for (const name of readdirSync(folder)) {
    const { result } = JSON.parse(readFileSync(join(folder, name), "utf8"));
    for (const { url, functions } of result) {
      if (!urls.has(url)) continue;
      const here = reachedBy(functions, readFileSync(fileURLToPath(url), "utf8").length);
      const known = reached.get(url);
      if (known === undefined) reached.set(url, here);
      else for (let at = 0; at < known.length; at += 1) known[at] ||= here[at];
    }
  }
  return reached;
}

/** Offsets count UTF-16 units. Functions come outermost first, and so do a function's ranges: what is inside says it last. */
function reachedBy(functions, length) {
  const here = new Uint8Array(length).fill(1);
  for (const { ranges } of functions)
    for (const { startOffset, endOffset, count } of ranges)
      here.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  return here;
}

/** Lines that hold code, and how many of them were reached. */
function countLines(path, reached) {
  const counts = { lines: 0, covered: 0, missed: [] };
  let start = 0;
  for (const [at, line] of readFileSync(path, "utf8").split("\n").entries()) {
    const end = start + line.length;
    if (/^\s*[^\s/*]/.test(line) && line !== "export {};" && !/^\s*[}\])]+[;,]?\s*$/.test(line)) {
      counts.lines += 1;
      if (reached?.subarray(start + line.search(/\S/), end).some((one) => one === 1))
        counts.covered += 1;
      else counts.missed.push(at + 1);
    }
    start = end + 1;
  }
  return counts;
}

const percent = ({ covered, lines }) => (lines === 0 ? 100 : (100 * covered) / lines);
const isLow = (counts) => percent(counts) < Number(values.least);
const show = (name, counts) =>
  `${percent(counts).toFixed(1).padStart(6)} %  ${String(counts.lines).padStart(6)}  ${name}`;

const folder = mkdtempSync(join(tmpdir(), "soci-coverage-"));
const low = [];
try {
  runTests(folder);
  const files = CODECS.flatMap((name) => built(name, isSource)).filter(
    (path) => !NO_CODEC.test(path),
  );
  const reached = readReached(folder, new Set(files.map((path) => pathToFileURL(path).href)));
  console.log("reached      of  lines of code in");
  for (const name of CODECS) {
    const total = { lines: 0, covered: 0 };
    const ofPackage = files
      .filter((path) => path.startsWith(`${join(root, "packages", name)}/`))
      .map((path) => ({ path, ...countLines(path, reached.get(pathToFileURL(path).href)) }));
    for (const { lines, covered } of ofPackage) {
      total.lines += lines;
      total.covered += covered;
    }
    console.log(show(`packages/${name}`, total));
    if (isLow(total)) low.push(name);
    for (const file of ofPackage.filter(isLow).sort((a, b) => percent(a) - percent(b)))
      console.log(`${show(`  ${file.path.slice(root.length)}`, file)}: ${file.missed.join(" ")}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const name of low) console.log(`packages/${name} is below ${values.least} %`);
process.exit(low.length === 0 ? 0 : 1);
