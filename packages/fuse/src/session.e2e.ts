import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmdirSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { pattern } from "./testing/memory-tree.ts";

const isRoot = process.getuid?.() === 0;
const skip = isRoot && existsSync("/dev/fuse") ? false : "needs root and /dev/fuse";

/** A directory with the sample tree mounted; the serving process is a child, this one looks into the mount. */
class SampleMount {
  readonly directory: string = mkdtempSync(join(tmpdir(), "soci-fuse-"));
  server: ChildProcess;
  log = "";
  readonly #fd: number;

  constructor(...args: readonly string[]) {
    const fd = openSync("/dev/fuse", "r+");
    this.#fd = fd;
    this.server = this.#serve(...args);
    const options =
      "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,ro,max_read=1048576";
    const mounted = spawnSync(
      "mount",
      ["-i", "-t", "fuse", "-o", options, "soci-test", this.directory],
      {
        stdio: ["ignore", "inherit", "inherit", fd],
      },
    );
    assert.equal(mounted.status, 0);
  }

  /** Ends the server and has another one go on with what it negotiated. */
  async replaceServer(): Promise<void> {
    const negotiated = /^negotiated (.*)$/m.exec(this.log)?.[1];
    assert.ok(negotiated !== undefined);
    await this.#endServer();
    this.log = "";
    this.server = this.#serve(negotiated);
  }

  async #endServer(): Promise<void> {
    if (this.server.exitCode !== null || this.server.signalCode !== null) return;
    const gone = once(this.server, "exit");
    this.server.kill("SIGKILL");
    await gone;
  }

  #serve(...args: readonly string[]): ChildProcess {
    const script = fileURLToPath(new URL("./testing/serve-sample.js", import.meta.url));
    const stdio = ["ignore", "pipe", "inherit", this.#fd] as const;
    const server = spawn(process.execPath, [script, ...args], { stdio: [...stdio] });
    server.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.log += text;
    });
    return server;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async logged(text: string): Promise<void> {
    while (!this.log.includes(text)) {
      if (this.server.stdout === null) throw new Error("no log");
      await once(this.server.stdout, "data", { signal: AbortSignal.timeout(5000) });
    }
  }

  async close(): Promise<void> {
    const gone = once(this.server, "exit");
    spawnSync("umount", ["-l", this.directory]);
    closeSync(this.#fd);
    if (this.server.exitCode === null && this.server.signalCode === null) await gone;
    rmdirSync(this.directory);
  }
}

describe("FuseSession over /dev/fuse", { skip }, () => {
  let mount: SampleMount;
  before(() => {
    mount = new SampleMount();
  });
  after(async () => {
    await mount.close();
  });

  it("negotiates and reports ready", async () => {
    await mount.logged("ready\n");
  });

  it("shows attributes, device numbers and link counts", () => {
    const block = lstatSync(Buffer.from(`${mount.directory}/caf\xe9`, "latin1"));
    assert.ok(block.isBlockDevice());
    assert.equal(
      execFileSync("stat", ["-c", "%Hr:%Lr", mount.path("whiteout")]).toString(),
      "0:0\n",
    );
    const hard = lstatSync(mount.path("one"), { bigint: true });
    assert.equal(hard.nlink, 2n);
    assert.equal(hard.ino, lstatSync(mount.path("two"), { bigint: true }).ino);
    assert.equal(hard.mode, 0o104755n);
    assert.equal(hard.mtimeNs, -4_876_543_211n);
    assert.deepEqual([hard.uid, hard.gid], [12n, 34n]);
  });

  it("reads every byte, whole and at places", () => {
    const want = Buffer.from(pattern(3_000_000));
    assert.ok(readFileSync(mount.path("big")).equals(want));
    const fd = openSync(mount.path("big"), "r");
    const piece = Buffer.alloc(100);
    assert.equal(readSync(fd, piece, 0, 100, 2_999_950), 50);
    assert.ok(piece.subarray(0, 50).equals(want.subarray(2_999_950)));
    closeSync(fd);
  });

  it("lists directories and follows links", () => {
    assert.equal(readdirSync(mount.path("sub")).length, 300);
    assert.equal(readlinkSync(mount.path("link")), "sub/../big");
    assert.throws(() => lstatSync(mount.path("nothing")), { code: "ENOENT" });
  });

  it("shows xattrs", () => {
    const shown = execFileSync("getfattr", [
      "-d",
      "-m",
      "-",
      "--absolute-names",
      mount.path("opaque"),
    ]).toString();
    assert.match(shown, /trusted\.overlay\.opaque="y"/);
    assert.match(shown, /user\.empty=""/);
  });

  it("sends no OPEN after the first, and asks for attributes once", () => {
    readFileSync(mount.path("one"));
    const before = mount.log.length;
    readFileSync(mount.path("one"));
    lstatSync(mount.path("one"));
    assert.doesNotMatch(mount.log.slice(before), /OPEN|GETATTR|LOOKUP/);
  });

  it("hands a failing read on as EIO", () => {
    const fd = openSync(mount.path("bad"), "r");
    try {
      execFileSync("dd", [
        `if=${mount.path("bad")}`,
        "iflag=direct",
        "bs=4096",
        "count=1",
        "status=none",
      ]);
      const second = spawnSync("dd", [
        `if=${mount.path("bad")}`,
        "iflag=direct",
        "bs=4096",
        "skip=1",
        "count=1",
      ]);
      assert.match(second.stderr.toString(), /Input\/output error/);
    } finally {
      closeSync(fd);
    }
  });

  it("lets a reader be killed while its read hangs", async () => {
    const reader = spawn(
      "dd",
      [`if=${mount.path("bad")}`, "iflag=direct", "bs=4096", "skip=2", "count=1"],
      { stdio: "ignore" },
    );
    await mount.logged("READ #");
    await mount.logged("offset 8192 size 4096");
    const gone = once(reader, "exit");
    reader.kill("SIGKILL");
    const [, signal] = await gone;
    assert.equal(signal, "SIGKILL");
    await mount.logged("INTERRUPT");
  });

  it("ends when unmounted", async () => {
    const other = new SampleMount();
    await other.logged("ready\n");
    spawnSync("umount", [other.directory]);
    await other.logged("ended\n");
    await other.close();
  });

  it("is taken over by another process, which answers what was in flight", async () => {
    const other = new SampleMount();
    try {
      await other.logged("ready\n");
      const reader = spawn(
        "dd",
        [`if=${other.path("bad")}`, "iflag=direct", "bs=4096", "skip=2", "count=1", "status=none"],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const read: Buffer[] = [];
      reader.stdout.on("data", (piece: Buffer) => read.push(piece));
      await other.logged("offset 8192 size 4096");
      await other.replaceServer();
      const [code] = await once(reader, "close", { signal: AbortSignal.timeout(5000) });
      assert.equal(code, 0);
      assert.ok(Buffer.concat(read).equals(Buffer.alloc(4096)));
      const unique = /READ #(\d+) .* offset 8192/.exec(other.log)?.[1];
      assert.ok(BigInt(unique ?? 0) > 2n ** 63n, "it came again, marked as resent");
      assert.ok(readFileSync(other.path("big")).equals(Buffer.from(pattern(3_000_000))));
      assert.doesNotMatch(other.log, /^(INIT|OPEN) /m);
    } finally {
      await other.close();
    }
  });

  it("is taken over from one that ended before it had answered INIT", async () => {
    const other = new SampleMount("die");
    try {
      await other.logged("negotiated ");
      await other.replaceServer();
      await other.logged("ready\n");
      const { stdout } = spawnSync("cat", [other.path("one")], { timeout: 5000 });
      assert.equal(stdout.toString(), "hard\n");
    } finally {
      await other.close();
    }
  });
});
