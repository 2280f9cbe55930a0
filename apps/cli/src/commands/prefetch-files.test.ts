import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { temporaryDirectory } from "../testing/command-line.ts";
import { readPrefetchFiles } from "./prefetch-files.ts";

describe("readPrefetchFiles()", () => {
  it("takes options first, then the file's paths, without blanks", async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, "files.json");
    await writeFile(path, '[" /app/a ", "", "lib/b\\n"]');
    const options = { prefetchFile: ["/bin/x", "  "], prefetchFilesJson: path };
    assert.deepEqual(await readPrefetchFiles(options), ["/bin/x", "/app/a", "lib/b"]);
    await writeFile(path, "null");
    assert.deepEqual(await readPrefetchFiles({ prefetchFilesJson: path }), []);
    assert.deepEqual(await readPrefetchFiles({}), []);
  });

  it("refuses a file that is no list of paths", async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, "files.json");
    const refusal = (code: string) => (error: unknown) => {
      assert.equal(error instanceof AppError && error.code, code, String(error));
      return true;
    };
    for (const text of ["", "[", "{}", '"a"', '["a", 1]', "[null]"]) {
      await writeFile(path, text);
      const reading = readPrefetchFiles({ prefetchFilesJson: path });
      await assert.rejects(reading, refusal("invalid_argument"), text);
    }
    const absent = readPrefetchFiles({ prefetchFilesJson: join(folder.path, "none") });
    await assert.rejects(absent, refusal("not_found"));
  });
});
