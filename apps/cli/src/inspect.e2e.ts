import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inflateSync } from "node:zlib";
import { command, hasProgram } from "@soci-ts/testkit";
import { create } from "./commands/create.ts";
import { inspect } from "./commands/inspect.ts";
import { temporaryDirectory } from "./testing/command-line.ts";
import { forgeIndex, HOSTILE_NAME, renamed } from "./testing/forge-index.ts";
import { sampleImage } from "./testing/images.ts";
import { testSession } from "./testing/session.ts";

const skip = hasProgram("chromium") ? false : "chromium is not installed";

interface Viewed {
  /** The document as the browser has it, after what ran in it. */
  readonly dom: string;
  /** The browser's log, the page's console in it. */
  readonly log: string;
}

/** Opens a page in a real browser. */
async function view(folder: string, page: string, screenshot: string): Promise<Viewed> {
  const profile = join(folder, `profile-${Date.now()}`);
  const options = [
    ...["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`],
    ...["--no-first-run", "--disable-extensions", "--disable-background-networking"],
    ...["--enable-logging=stderr", "--window-size=1100,1700", `--screenshot=${screenshot}`],
  ];
  const { stdout, stderr } = await command(
    "chromium",
    [...options, "--dump-dom", `file://${page}`],
    { timeoutMs: 120_000 },
  );
  return { dom: stdout, log: stderr };
}

/** How many different bytes the picture's rows are made of: few if it is blank. */
function variety(png: Buffer): number {
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const length = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") {
      parts.push(png.subarray(at + 8, at + 8 + length));
    }
  }
  return new Set(inflateSync(Buffer.concat(parts))).size;
}

describe("soci inspect --html, in a browser", { skip }, () => {
  it("shows hostile names as text, runs nothing, asks for nothing", async () => {
    await using folder = await temporaryDirectory();
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(request.url ?? "");
      response.end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const beacon = `<img src="http://127.0.0.1:${port}/" onerror="document.title='owned'">`;
    try {
      const root = join(folder.path, "store");
      const { directory } = await sampleImage(folder.path);
      await using session = testSession(root);
      const name = `oci:${directory}`;
      const sizes = { spanSize: 65_536, minLayerSize: 0, reuse: "any" } as const;
      const made = (await create(session, name, sizes)).json as { index: string };
      await forgeIndex(root, made.index, (index) => renamed(index, 2, HOSTILE_NAME + beacon));

      const html = join(folder.path, "page.html");
      const screenshot = join(folder.path, "page.png");
      await inspect(session, name, { html });
      const { dom, log } = await view(folder.path, html, screenshot);
      assert.match(dom, /<title>oci:[^<]* – lazy loading<\/title>/);
      assert.ok(!/<script|<img/i.test(dom));
      assert.ok(
        dom.includes("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "the name is there, as text",
      );
      assert.ok(dom.includes("\\u{202e}gnp.exe\\x00"));
      assert.equal(dom.match(/<rect class="lazy" x="136"/g)?.length, 2);
      assert.ok(!/Content Security Policy|CONSOLE/.test(log), log);
      const png = await readFile(screenshot);
      assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [1100, 1700]);
      assert.ok(variety(png) > 30, "the picture is blank");

      // The second wall: had something slipped through, the policy would stop it.
      const breached = join(folder.path, "breached.html");
      const page = await readFile(html, "utf8");
      const script = `<script>document.title="owned"</script>`;
      await writeFile(breached, page.replace("</main>", `${beacon}${script}</main>`));
      const second = await view(folder.path, breached, screenshot);
      assert.match(second.dom, /<title>oci:[^<]* – lazy loading<\/title>/);
      assert.match(second.log, /Content Security Policy/);
      assert.deepEqual(requests, []);
    } finally {
      server.close();
    }
  });
});
