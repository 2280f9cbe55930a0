// Access control of the real soci-referrers over TLS, as skopeo, containerd and soci meet it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { DisposeStack } from "@soci-ts/core";
import {
  buildTar,
  command,
  gzipLayer,
  hasProgram,
  seededBytes,
  startChild,
  startContainerd,
  stopChild,
  writeLayout,
} from "@soci-ts/testkit";
import { SOCI_PROGRAM } from "./soci-command.ts";

const missing = ["openssl", "skopeo"].filter((name) => !hasProgram(name));
const noContainerd =
  process.getuid?.() !== 0 || !hasProgram("containerd")
    ? "needs root and containerd"
    : (false as const);

const PROGRAM = fileURLToPath(
  new URL("../../../apps/referrers/bin/soci-referrers.js", import.meta.url),
);

/** As `htpasswd -nbB -C 4` writes them: the passwords are anna-password and bob-password. */
const HTPASSWD = `anna:$2y$04$84I9gSUGEVpefAT8GHIYDeIyG2DDo0aefYyPVTvDiHg/XRRqOONs2
bob:$2y$04$zJRJcNNi5pYXmM60jSaCeehLcEbL/7I64AGTifWFAZ/6A2qHicxgq
`;

interface TestRegistry extends AsyncDisposable {
  readonly folder: string;
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly caFile: string;
  /** Puts another certificate in place, and sends SIGHUP. */
  renew(): Promise<void>;
  /** What it has logged. */
  log(): string;
}

test("skopeo, soci and the audit log: login, push, anonymous pull, refusals", {
  skip: missing.length > 0 && `needs ${missing.join(", ")}`,
  timeout: 120_000,
}, async () => {
  await using registry = await startRegistry();
  const { host, folder, caFile } = registry;
  const skopeo = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, REGISTRY_AUTH_FILE: join(folder, "auth.json") };
    return (await command("skopeo", args, { env, timeoutMs: 30_000 })).stdout;
  };
  const certs = ["--cert-dir", join(folder, "certs")];
  const login = (user: string, password: string) =>
    skopeo("login", ...certs, "--username", user, "--password", password, host);
  const push = (name: string) =>
    skopeo(
      "copy",
      "--dest-cert-dir",
      join(folder, "certs"),
      `oci:${folder}/image:latest`,
      `docker://${host}/${name}`,
    );
  const inspect = (name: string) => skopeo("inspect", ...certs, `docker://${host}/${name}`);
  await buildImage(join(folder, "image"));

  await assert.rejects(login("anna", "bob-password"), /invalid username\/password/);
  await assert.rejects(push("team/app:v1"), /unauthorized/);
  await login("anna", "anna-password");
  await push("team/app:v1");
  await push("open/app:v1");
  await createIndex(registry, `${host}/team/app:v1`);

  await login("bob", "bob-password");
  await inspect("team/app:v1");
  await assert.rejects(push("team/app:v2"), /denied/);
  await assert.rejects(skopeo("delete", ...certs, `docker://${host}/open/app:v1`), /denied|403/);
  await skopeo("logout", host);
  await inspect("open/app:v1");
  await skopeo(
    "copy",
    "--src-cert-dir",
    join(folder, "certs"),
    `docker://${host}/open/app:v1`,
    `oci:${folder}/out:v1`,
  );
  const refused = "unauthorized|authentication required";
  await assert.rejects(inspect("team/app:v1"), new RegExp(refused));
  await assert.rejects(inspect("team/none:v1"), new RegExp(refused));

  const audit = await readFile(join(folder, "audit.jsonl"), "utf8");
  const lines = audit
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const saw = (wanted: Record<string, unknown>) =>
    lines.some((line) => Object.entries(wanted).every(([name, value]) => line[name] === value));
  assert.ok(
    saw({ user: "anna", action: "push", repository: "team/app", target: "v1", status: 201 }),
  );
  assert.ok(saw({ user: "bob", action: "push", repository: "team/app", status: 403 }));
  assert.ok(saw({ user: null, action: "login", status: 401 }));
  assert.doesNotMatch(audit + registry.log(), /-password|eyJ|YW5uYT|Ym9iOm/);

  if (noContainerd === false) {
    await using containerd = await startContainerd();
    // Without it ctr takes the loopback for plain HTTP.
    await mkdir(join(folder, "certs.d", host), { recursive: true });
    const hosts = `server = "https://${host}"\n[host."https://${host}"]\nca = "${caFile}"\n`;
    await writeFile(join(folder, "certs.d", host, "hosts.toml"), hosts);
    const pull = (name: string, ...more: string[]) =>
      containerd.ctr(
        "images",
        "pull",
        "--hosts-dir",
        join(folder, "certs.d"),
        ...more,
        `${host}/${name}`,
      );
    await pull("open/app:v1");
    await pull("team/app:v1", "--user", "anna:anna-password");
    await assert.rejects(pull("team/app:v1"), /401|unauthorized|authorization/i);
    await assert.rejects(pull("team/app:v1", "--user", "anna:wrong"), /401|unauthorized/i);
  }

  const before = await servedCertificate(registry);
  await registry.renew();
  const deadline = Date.now() + 20_000;
  while ((await servedCertificate(registry)) === before) {
    assert.ok(Date.now() < deadline, "the old certificate is still served");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await inspect("open/app:v1");
});

async function startRegistry(): Promise<TestRegistry> {
  await using stack = new DisposeStack();
  const folder = await mkdtemp(join(tmpdir(), "soci-access-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const caFile = join(folder, "certs", "ca.crt");
  await mkdir(join(folder, "certs"));
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const ca = ["-subj", "/CN=test CA", "-keyout", join(folder, "ca.key"), "-out", caFile];
  await command("openssl", ["req", "-x509", ...key, "-days", "2", ...ca]);
  const issue = async (): Promise<void> => {
    await writeFile(join(folder, "names"), "subjectAltName=IP:127.0.0.1\n");
    const request = ["-subj", "/CN=registry", "-keyout", "new.key", "-out", "new.csr"];
    await command("openssl", ["req", ...key, ...request], { cwd: folder });
    const signed = ["-CA", caFile, "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"];
    await command(
      "openssl",
      ["x509", "-req", "-in", "new.csr", ...signed, "-days", "2", "-out", "new.crt"],
      { cwd: folder },
    );
    await copyFile(join(folder, "new.key"), join(folder, "tls.key"));
    await copyFile(join(folder, "new.crt"), join(folder, "tls.crt"));
  };
  await issue();
  await writeFile(join(folder, "htpasswd"), HTPASSWD);
  await writeFile(join(folder, "config.toml"), configText(folder));
  const child = startChild(process.execPath, [PROGRAM, "--config", join(folder, "config.toml")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  stack.defer(() => stopChild(child));
  let log = "";
  child.stderr?.on("data", (text: Buffer) => {
    log += text.toString();
  });
  assert.ok(child.stdout);
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    once(child, "exit"),
  ])) as [unknown];
  const host = /^listening on https:\/\/(\S+)$/.exec(String(line))?.[1];
  assert.ok(host, log);
  const running = stack.move();
  return {
    folder,
    host,
    caFile,
    log: () => log,
    renew: async () => {
      await issue();
      child.kill("SIGHUP");
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function configText(folder: string): string {
  return `
root = "${folder}/root"
listen = "127.0.0.1:0"
log_level = "debug"
[tls]
certificate_file = "${folder}/tls.crt"
key_file = "${folder}/tls.key"
[access]
htpasswd_file = "${folder}/htpasswd"
[[groups]]
name = "team"
users = ["anna"]
[[rules]]
users = ["@team"]
allow = ["pull", "push", "delete"]
[[rules]]
repositories = ["open/*"]
users = ["anonymous"]
[[rules]]
users = ["bob"]
[audit]
file = "${folder}/audit.jsonl"
`;
}

async function buildImage(folder: string): Promise<void> {
  const tar = await buildTar([
    { name: "data", type: "file", content: seededBytes(2_000_000, 7) },
    { name: "hello", type: "file", content: Buffer.from("hello\n") },
  ]);
  await writeLayout(folder, [gzipLayer(tar)]);
}

/** `soci create --push`, with the login that skopeo has left: our own client reads, pushes and lists referrers. */
async function createIndex({ folder, caFile }: TestRegistry, image: string): Promise<void> {
  const env = {
    PATH: process.env["PATH"],
    HOME: "/nonexistent",
    REGISTRY_AUTH_FILE: join(folder, "auth.json"),
  };
  const run = async (store: string, ...args: string[]) =>
    command(
      process.execPath,
      [SOCI_PROGRAM, "--root", join(folder, store), "--ca-file", caFile, "--json", ...args],
      { env, timeoutMs: 60_000 },
    );
  await run("store", "create", "--min-layer-size", "0", "--push", image);
  const { stdout } = await run("other-store", "inspect", image);
  assert.match(stdout, /"origin": "referrers"/);
}

/** The fingerprint of the certificate that a new connection is shown; the CA is checked. */
async function servedCertificate({ host, caFile }: TestRegistry): Promise<string> {
  const [address, port] = host.split(":");
  const ca = await readFile(caFile);
  const socket = connect({ host: address ?? "", port: Number(port), ca });
  await once(socket, "secureConnect");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
