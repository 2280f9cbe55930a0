import { writeSync } from "node:fs";
import { constants } from "node:os";
import { deviceChannel } from "../channel.ts";
import { FuseError } from "../errno.ts";
import { parseNegotiated } from "../init.ts";
import { FuseSession } from "../session.ts";
import { MemoryTree, sampleTree } from "./memory-tree.ts";

/*
 * Serves the sample tree on descriptor 3 until it is unmounted, for the e2e test. Node 9 (`bad`) fails in its second 4 KiB and hangs
 * when asked for byte 8192. Every request is written to standard output. With what another process negotiated as argument, it takes the
 * connection over from that one, and nothing hangs; with `die`, it ends before INIT is answered.
 */
const [given = "serve"] = process.argv.slice(2);
const negotiated = given.startsWith("{") ? parseNegotiated(JSON.parse(given)) : undefined;

class SampleTree extends MemoryTree {
  override read(nodeId: number, offset: number, length: number): Promise<Uint8Array> | Uint8Array {
    if (nodeId === 9 && offset >= 8192 && !negotiated) return new Promise(() => {});
    if (nodeId === 9 && offset === 4096) throw new FuseError(constants.errno.EIO);
    return super.read(nodeId, offset, length);
  }
}

const nodes = new Map(sampleTree()).set(9, { type: "reg", content: new Uint8Array(16_384) });
const session = new FuseSession({
  channel: deviceChannel(3),
  handler: new SampleTree(nodes),
  negotiated,
  onNegotiated: (agreed) => {
    writeSync(1, `negotiated ${JSON.stringify(agreed)}\n`);
    if (given === "die") process.kill(process.pid, "SIGKILL");
  },
  onReady: () => writeSync(1, "ready\n"),
  logger: {
    debug: (_, fields) => writeSync(1, `${fields?.["request"]}\n`),
    info: () => {},
    warn: () => {},
    error: (text, fields) => writeSync(1, `error ${text} ${JSON.stringify(fields)}\n`),
    child() {
      return this;
    },
  },
});
try {
  await session.run();
  writeSync(1, "ended\n");
} finally {
  process.kill(process.pid, "SIGKILL");
}
