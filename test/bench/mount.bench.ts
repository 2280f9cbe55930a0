// A mounted image on a loopback registry: a whole-tree find and its FUSE messages, sequential and random reads, by door.
// Everything that looks into the mount is a process of its own. Nothing is local before each row.
import { command } from "@soci-ts/testkit";
import { type BenchImage, benchImage, type MountCost } from "./mounted-image.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const MEGABYTES = 100;
const RANDOM_READS = 200;

/** Reads 4 KiB at seeded places of the biggest files, as a start-up does. */
const RANDOM_READER = `
const fs = require("node:fs");
const files = process.argv[1].split("\\n").filter(Boolean).map((path) => ({ fd: fs.openSync(path), size: fs.statSync(path).size }));
let state = 7;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
const buffer = Buffer.alloc(4096);
for (let i = 0; i < ${RANDOM_READS}; i += 1) {
  const file = files[Math.floor(random() * files.length)];
  fs.readSync(file.fd, buffer, 0, 4096, Math.floor(random() * Math.max(1, file.size - 4096)));
}
`;

await using image = await benchImage(MEGABYTES);
const rows: (string | number)[][] = [];
for (const door of ["erofs", "fuse"]) {
  const idle = await image.mounted(async () => {}, door);
  rows.push(
    await row(image, door, "find with stat, 10,000 files", idle, (root) =>
      run("find", [root, "-printf", "%s %p\\n"]),
    ),
  );
  rows.push(
    await row(image, door, "the same, caches dropped first", idle, async (root) => {
      await dropCaches();
      await run("find", [root, "-printf", "%s %p\\n"]);
    }),
  );
  rows.push(
    await row(image, door, "read the big files in order", idle, (root) =>
      run("sh", ["-c", `find '${root}/usr' -type f -size +1M -print0 | xargs -0 cat > /dev/null`]),
    ),
  );
  rows.push(
    await row(image, door, "read every file once", idle, (root) =>
      run("sh", ["-c", `find '${root}' -type f -print0 | xargs -0 cat > /dev/null`]),
    ),
  );
  rows.push(
    await row(image, door, `${RANDOM_READS} random reads of 4 KiB`, idle, async (root) => {
      const { stdout } = await command("sh", ["-c", `find '${root}/usr' -type f -size +1M`]);
      return run(process.execPath, ["-e", RANDOM_READER, stdout]);
    }),
  );
}
printTable(
  [
    "mounted image",
    "s",
    "MB/s",
    "FUSE messages",
    "requests",
    "MB fetched",
    "MB read",
    "fetched / read",
  ],
  rows,
);

async function dropCaches(): Promise<void> {
  await command("sh", ["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
}

async function run(file: string, args: readonly string[]): Promise<void> {
  await command(file, args);
}

/** Cost of `work`, less what mounting and unmounting alone cost. */
async function row(
  from: BenchImage,
  door: string,
  name: string,
  idle: MountCost,
  work: (root: string) => Promise<void>,
): Promise<(string | number)[]> {
  let wallMs = 0;
  await dropCaches();
  const cost = await from.mounted(async (root) => {
    const started = performance.now();
    await work(root);
    wallMs = performance.now() - started;
  }, door);
  const fetched = cost.bytesFetched - idle.bytesFetched;
  const read = cost.bytesRead - idle.bytesRead;
  return [
    `${door}: ${name}`,
    (wallMs / 1000).toFixed(2),
    read === 0 ? "-" : megabytesPerSecond(read, wallMs),
    cost.fuseMessages - idle.fuseMessages,
    cost.requests - idle.requests,
    (fetched / 1e6).toFixed(1),
    (read / 1e6).toFixed(1),
    read === 0 ? "-" : (fetched / read).toFixed(2),
  ];
}
