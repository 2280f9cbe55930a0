import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { certsDirHosts } from "./certs-dir.ts";
import { recordingLogger } from "./testing/recorder.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "certs-dir-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(folder: string, text: string, file = "hosts.toml"): Promise<string> {
  await mkdir(join(root, folder), { recursive: true });
  const path = join(root, folder, file);
  await writeFile(path, text);
  return path;
}

async function serverOf(registry: string, directories = [root]): Promise<string | undefined> {
  const config = await certsDirHosts({ directories }).hostsFor(registry);
  return config?.hosts.at(-1)?.url?.origin;
}

test("certsDirHosts() takes host_port_, then host:port, then _default, of the first folder that has one", async () => {
  assert.equal(await serverOf("r.example:5000"), undefined);
  await put("a/_default", 'server = "https://default.example"');
  await put("b/r.example_5000_", 'server = "https://later.example"');
  const directories = [join(root, "missing"), join(root, "a"), join(root, "b")];
  assert.equal(await serverOf("r.example:5000", directories), "https://default.example");
  await put("a/r.example:5000", 'server = "https://colon.example"');
  assert.equal(await serverOf("r.example:5000", directories), "https://colon.example");
  await put("a/r.example_5000_", 'server = "https://plain.example"');
  assert.equal(await serverOf("r.example:5000", directories), "https://plain.example");
  assert.equal(await serverOf("r.example", directories), "https://default.example");
});

test("certsDirHosts() does not let a name lead out of the folder", async () => {
  await put("outside", 'server = "https://outside.example"');
  await mkdir(join(root, "inside"));
  for (const name of ["../outside", "..", "."]) {
    assert.equal(await serverOf(name, [join(root, "inside")]), undefined);
  }
});

test("certsDirHosts() gives the same object until a file changes, and then the new one", async () => {
  const file = await put("r", 'server = "https://one.example"\nca = "ca.crt"');
  const source = certsDirHosts({ directories: [root] });
  const first = await source.hostsFor("r");
  assert.equal(await source.hostsFor("r"), first);
  // As editors and ConfigMaps do: another file in its place.
  await writeFile(`${file}.new`, 'server = "https://two.example"\nca = "ca.crt"');
  await rename(`${file}.new`, file);
  const second = await source.hostsFor("r");
  assert.equal(second?.hosts[0]?.url?.origin, "https://two.example");
  await put("r", "a CA", "ca.crt");
  const third = await source.hostsFor("r");
  assert.notEqual(third, second);
  assert.notEqual(third?.hosts[0]?.connection?.id, second?.hosts[0]?.connection?.id);
  assert.equal(await source.hostsFor("r"), third);
  await rm(join(root, "r"), { recursive: true });
  assert.equal(await source.hostsFor("r"), undefined);
});

test("certsDirHosts() keeps what was said when a file becomes wrong, and logs it once", async () => {
  await put("r", 'server = "https://one.example"');
  const logger = recordingLogger();
  const source = certsDirHosts({ directories: [root], logger });
  const good = await source.hostsFor("r");
  await put("r", "server = ");
  assert.equal(await source.hostsFor("r"), good);
  assert.equal(await source.hostsFor("r"), good);
  assert.equal(logger.lines.length, 1);
  assert.match(logger.lines[0] ?? "", /hosts\.toml: it is no TOML/);
  await assert.rejects(certsDirHosts({ directories: [root] }).hostsFor("r"), {
    code: "failed_precondition",
  });
});

test("certsDirHosts() reads Docker's files where there is no hosts.toml", async () => {
  for (const name of ["ca.crt", "me.cert", "me.key", "notes.txt"]) await put("r", "x", name);
  const config = await certsDirHosts({ directories: [root] }).hostsFor("r");
  const folder = join(root, "r");
  assert.equal(config?.hosts.length, 1);
  assert.equal(config?.hosts[0]?.url, undefined);
  assert.deepEqual(config?.hosts[0]?.connection?.caFiles, [join(folder, "ca.crt")]);
  assert.deepEqual(config?.hosts[0]?.connection?.clientPairs, [
    { certFile: join(folder, "me.cert"), keyFile: join(folder, "me.key") },
  ]);
  await put("odd", "x", "me.cert");
  await assert.rejects(
    certsDirHosts({ directories: [root] }).hostsFor("odd"),
    /me\.key is missing/,
  );
});

test("certsDirHosts() warns of keys that nobody reads and of certificates that are not checked", async () => {
  await put("r", 'skip_verfy = true\n[host."https://m.example"]\nskip_verify = true');
  const logger = recordingLogger();
  const source = certsDirHosts({ directories: [root], logger });
  await source.hostsFor("r");
  await source.hostsFor("r");
  assert.equal(logger.lines.length, 2);
  assert.match(logger.lines[0] ?? "", /skip_verfy/);
  assert.match(logger.lines[1] ?? "", /not checked.*m\.example/);
});
