// Brings a checkout to the point where its programs can run: installs what package-lock.json names and compiles.
// Does nothing that is done already. Run by `npm run demo`, `npm test` and `npm run bench`.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const WANT_NODE = [20, 19];

function fail(message) {
  console.error(message);
  process.exit(1);
}

function step(title, file, args, hint, env = {}) {
  const started = performance.now();
  console.error(`setup: ${title} ...`);
  const done = spawnSync(file, args, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 268_435_456,
  });
  if (done.status !== 0) {
    console.error(done.stdout ?? "", done.stderr ?? "", done.error ?? "");
    fail(`setup: ${title} failed. ${hint}`);
  }
  console.error(`setup: ${title} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < WANT_NODE[0] || (major === WANT_NODE[0] && minor < WANT_NODE[1])) {
  fail(`Node ${process.versions.node} is too old: want ${WANT_NODE.join(".")} or later`);
}

const installed = `${root}/node_modules/.package-lock.json`;
if (
  !existsSync(installed) ||
  statSync(installed).mtimeMs < statSync(`${root}/package-lock.json`).mtimeMs
) {
  // Where Node's headers are on the machine, an addon without a prebuilt binary compiles without a download.
  const headers = existsSync("/usr/include/node/node.h") ? { npm_config_nodedir: "/usr" } : {};
  // Not `npm ci`: it refuses a lock file without the optional binaries of other platforms, which not every mirror carries.
  step(
    "npm install (a minute or two: SQLite is compiled where no prebuilt binary can be had)",
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund"],
    "If it was the compiler: apt-get install -y g++ make python3",
    headers,
  );
}
step("tsc -b", `${root}/node_modules/.bin/tsc`, ["-b"], "The sources do not compile.");
step(
  "bundling",
  process.execPath,
  [`${root}/test/bundle.mjs`],
  "What tsc built is not whole: delete the `dist` folders.",
);
