import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type BuiltImage, seededBytes } from "@soci-ts/testkit";
import { documentOf, type RunResult, soci, temporaryDirectory } from "./testing/command-line.ts";
import { DATA_BYTES, sampleImage } from "./testing/images.ts";

interface CreateDocument {
  readonly index: string;
  readonly manifest: string;
  readonly layers: readonly {
    readonly digest: string;
    readonly ztoc?: string;
    readonly skipped?: string;
  }[];
}

function created(result: RunResult): CreateDocument {
  return documentOf(result) as unknown as CreateDocument;
}

async function createSample(
  root: string,
  image: BuiltImage,
  ...more: readonly string[]
): Promise<RunResult> {
  const name = `oci:${image.directory}:latest`;
  return soci(["--root", root, "--json", "create", name, "--min-layer-size", "0", ...more]);
}

describe("soci, with an OCI layout", () => {
  it("creates, lists, shows and removes an index", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await sampleImage(folder.path);
    const made = created(await createSample(root, image, "--span-size", "65536"));
    assert.equal(made.manifest, image.manifest.digest);
    assert.equal(made.layers.filter((layer) => layer.ztoc !== undefined).length, 2);

    const listed = await soci(["index", "ls", "--root", root]);
    assert.match(listed.stdout.toString(), new RegExp(`${made.index} +oci:`));
    const info = documentOf(await soci(["--root", root, "--json", "index", "info", made.index]));
    assert.equal(
      (info["manifest"] as { subject: { digest: string } }).subject.digest,
      image.manifest.digest,
    );
    const ztocs = await soci(["--root", root, "--json", "ztoc", "ls"]);
    assert.equal((documentOf(ztocs) as unknown as unknown[]).length, 2);

    const short = made.index.slice(0, 20);
    const removed = documentOf(await soci(["--root", root, "--json", "index", "rm", short]));
    assert.deepEqual(removed, { removed: [made.index] });
    const empty = await soci(["--root", root, "--json", "ztoc", "ls"]);
    assert.equal(empty.stdout.toString(), "[]\n");
  });

  it("says in plain lines on stderr what it does, and nothing but the result on stdout", async () => {
    await using folder = await temporaryDirectory();
    const image = await sampleImage(folder.path);
    const root = join(folder.path, "store");
    const result = await soci([
      "create",
      `oci:${image.directory}`,
      "--root",
      root,
      "--min-layer-size",
      "1000",
    ]);
    assert.equal(result.exitCode, 0, result.stderr);
    assert.match(result.stderr, /layer [0-9a-f]{12} .* indexed, ztoc/);
    assert.match(result.stderr, /skipped: \d+ bytes, below the minimum of 1000/);
    assert.match(result.stdout.toString(), /^index +sha256:/);
    assert.ok(!result.stdout.includes("\u001b"));
  });

  it("writes files of a layer, byte for byte", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await sampleImage(folder.path);
    const made = created(await createSample(root, image, "--span-size", "65536"));
    const [lower, upper] = made.layers.map((layer) => layer.ztoc ?? "");
    const cat = (ztoc: string | undefined, path: string): Promise<RunResult> =>
      soci(["--root", root, "ztoc", "cat", ztoc ?? "", path]);
    assert.equal((await cat(lower, "etc/os-release")).stdout.toString(), "ID=sample\n");
    assert.equal((await cat(upper, "/etc/link")).stdout.toString(), "ID=changed\n");
    assert.equal((await cat(lower, "usr/share/last")).stdout.toString(), "the end\n");
    const data = await cat(lower, "usr/share/data");
    assert.ok(data.stdout.equals(Buffer.from(seededBytes(DATA_BYTES, 11))), data.stderr);
    const absent = await cat(upper, "usr/share/last");
    assert.equal(absent.exitCode, 3);
    assert.match(absent.stderr, /^soci: not_found: .*another layer/);
  });

  it("refuses to write a file whose blob was changed, and writes nothing of it", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await sampleImage(folder.path);
    const made = created(await createSample(root, image, "--span-size", "65536"));
    const { writeFile } = await import("node:fs/promises");
    const file = join(image.directory, "blobs", image.layers[0]!.digest.replace(":", "/"));
    const bytes = await readFile(file);
    bytes.writeUInt8(bytes.readUInt8(5_000) === 0 ? 1 : 0, 5_000);
    await writeFile(file, bytes);
    const result = await soci([
      "--root",
      root,
      "ztoc",
      "cat",
      made.layers[0]?.ztoc ?? "",
      "usr/share/data",
    ]);
    assert.equal(result.exitCode, 11, result.stderr);
    assert.equal(result.stdout.length, 0);
  });

  it("shows a ztoc's spans and files", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await sampleImage(folder.path);
    const made = created(await createSample(root, image, "--span-size", "65536"));
    const ztoc = made.layers[0]?.ztoc ?? "";
    const info = documentOf(await soci(["--root", root, "--json", "ztoc", "info", ztoc]));
    const files = info["files"] as { name: string; startSpan?: number; endSpan?: number }[];
    const data = files.find((file) => file.name === "usr/share/data");
    assert.equal(data?.startSpan, 0);
    assert.equal(data?.endSpan, (info["spans"] as unknown[]).length - 1);
    const text = (await soci(["--root", root, "ztoc", "info", ztoc])).stdout.toString();
    assert.match(text, /reg +0?0?644 .*etc\/os-release/);
  });

  it("gives one JSON document for an error, with the code that the table says", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const cases: readonly [readonly string[], number, string][] = [
      [["create", "oci:/no/such/layout"], 3, "not_found"],
      [["create", "Not A Reference"], 2, "invalid_argument"],
      [["create", "--push", "oci:/x"], 2, "invalid_argument"],
      [["create", "127.0.0.1:1/app:v1"], 8, "unavailable"],
      [["index", "info", "sha256:00"], 3, "not_found"],
      [["index", "frobnicate"], 2, "invalid_argument"],
      [["--root", "/dev/null/store", "index", "ls"], 1, ""],
    ];
    for (const [args, exitCode, code] of cases) {
      const result = await soci(["--root", root, "--json", ...args]);
      const { error } = documentOf(result) as { error: { code: string; message: string } };
      if (code !== "")
        assert.deepEqual([result.exitCode, error.code], [exitCode, code], args.join(" "));
      assert.notEqual(result.exitCode, 0);
      assert.ok(error.message.length > 0);
    }
  });

  it("works for a user who is not root, up to the mount", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("needs root to become someone else");
    await using folder = await temporaryDirectory();
    const { chmod, chown, mkdir } = await import("node:fs/promises");
    await chmod(folder.path, 0o755);
    const home = join(folder.path, "home");
    await mkdir(home);
    const user = 65_534;
    await chown(home, user, user);
    const image = await sampleImage(folder.path);
    const options = { userId: user, env: { HOME: home } };
    const name = `oci:${image.directory}`;
    const result = await soci(["--json", "create", name, "--min-layer-size", "0"], options);
    assert.equal(result.exitCode, 0, result.stderr + result.stdout);
    const [layer] = created(result).layers;
    const cat = await soci(["ztoc", "cat", layer?.ztoc ?? "", "etc/os-release"], options);
    assert.equal(cat.stdout.toString(), "ID=sample\n", cat.stderr);
    const mount = await soci(["mount", "127.0.0.1:1/app:v1", home], options);
    assert.equal(mount.exitCode, 5, mount.stderr);
    assert.match(mount.stderr, /ztoc cat/);
    const doctor = await soci(["doctor"], options);
    assert.equal(doctor.exitCode, 0, doctor.stdout.toString());
    return undefined;
  });
});

describe("soci doctor", () => {
  it("names registries in credential files, and never a secret", async () => {
    await using folder = await temporaryDirectory();
    const { writeFile } = await import("node:fs/promises");
    const secret = Buffer.from("user:swordfish").toString("base64");
    const auths = { "registry.example": { auth: secret, identitytoken: "swordfish" } };
    await writeFile(
      join(folder.path, "config.json"),
      JSON.stringify({ auths, credsStore: "pass" }),
    );
    const root = join(folder.path, "store");
    const result = await soci(["--root", root, "--json", "doctor"], {
      env: { DOCKER_CONFIG: folder.path },
    });
    const text = result.stdout.toString() + result.stderr;
    assert.match(text, /names registry\.example; all by docker-credential-pass/);
    assert.ok(!text.includes("swordfish") && !text.includes(secret));
    const { findings } = documentOf(result) as { findings: { state: string; fix?: string }[] };
    for (const { state, fix } of findings) assert.equal(fix !== undefined, state !== "ok");
  });

  it("fails if the registry can't be reached, and says what to do", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const result = await soci(["--root", root, "doctor", "127.0.0.1:1"]);
    assert.equal(result.exitCode, 5);
    assert.match(result.stdout.toString(), /fail {2}registry 127\.0\.0\.1:1: .*\n +fix: /);
  });
});
