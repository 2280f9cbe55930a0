import assert from "node:assert/strict";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { command, hasProgram } from "@soci-ts/testkit";
import { freshFolder } from "./testing/http.ts";
import { TlsFiles } from "./tls-files.ts";

const skip = !hasProgram("openssl") && "openssl is not installed";

async function makePair(folder: string, name: string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const files = ["-keyout", `${name}.key`, "-out", `${name}.crt`];
  await command("openssl", ["req", "-x509", ...key, "-subj", `/CN=${name}`, ...files], {
    cwd: folder,
  });
}

describe("TlsFiles", { skip }, () => {
  it("hands a new pair on once it fits together, and keeps the old one until then", async () => {
    await using folder = await freshFolder();
    const at = (name: string) => join(folder.path, name);
    await makePair(folder.path, "a");
    await makePair(folder.path, "b");
    copyFileSync(at("a.crt"), at("tls.crt"));
    copyFileSync(at("a.key"), at("tls.key"));
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
    using files = new TlsFiles({ certificateFile: at("tls.crt"), keyFile: at("tls.key") }, logger);
    const first = files.pair;
    let changes = 0;
    files.onChange(() => {
      changes += 1;
    });
    files.reload();
    assert.equal(changes, 0);
    copyFileSync(at("b.crt"), at("tls.crt"));
    files.reload();
    files.reload();
    assert.deepEqual([changes, errors.length, files.pair], [0, 1, first]);
    copyFileSync(at("b.key"), at("tls.key"));
    files.reload();
    assert.equal(changes, 1);
    assert.notDeepEqual(files.pair, first);
    rmSync(at("tls.key"));
    files.reload();
    assert.deepEqual([changes, errors.length], [1, 2]);
  });

  it("does not begin with files that are missing or are none, and shows nothing of the key", async () => {
    await using folder = await freshFolder();
    const paths = { certificateFile: join(folder.path, "c"), keyFile: join(folder.path, "k") };
    assert.throws(() => new TlsFiles(paths, silentLogger), { code: "invalid_argument" });
    for (const path of Object.values(paths)) writeFileSync(path, "hunter2");
    assert.throws(
      () => new TlsFiles(paths, silentLogger),
      (error: Error) =>
        /Cannot use certificate/.test(error.message) && !/hunter2/.test(error.message),
    );
  });
});
