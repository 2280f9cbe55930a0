import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDERS = ["packages", "apps"].flatMap((kind) =>
  readdirSync(join(ROOT, kind)).map((name) => `${kind}/${name}`),
);
const EXPORT = /^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) (\w+)/;

for (const folder of FOLDERS) {
  test(`${folder} documents every export`, () => {
    assert.deepEqual(undocumentedExports(join(ROOT, folder, "dist")), []);
  });

  test(`${folder} has a README with its modules`, () => {
    const text = readFileSync(join(ROOT, folder, "README.md"), "utf8");
    const lines = text.split("\n").length;
    assert.ok(lines >= 20, `only ${lines} lines`);
    assert.match(text, /^# /);
  });
}

test("links between the repository's documents lead somewhere", () => {
  const documents = [
    "README.md",
    "CHANGELOG.md",
    ...FOLDERS.map((folder) => `${folder}/README.md`),
  ];
  const dead: string[] = [];
  for (const document of documents) {
    const text = readFileSync(join(ROOT, document), "utf8");
    for (const match of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const target = join(ROOT, document, "..", match[1] ?? "");
      if (!existsSync(target)) dead.push(`${document}: ${match[1]}`);
    }
  }
  assert.deepEqual(dead, []);
});

test("the root README names every package", () => {
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  assert.deepEqual(
    FOLDERS.filter((folder) => !text.includes(`](${folder}`)),
    [],
  );
});

/** Exported names in the emitted declarations that no comment stands above. Entry points that only re-export are fine. */
function undocumentedExports(dist: string): string[] {
  const bare: string[] = [];
  for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".d.ts") || /\.(test|e2e)\.d\.ts$/.test(file) || file.includes("testing/"))
      continue;
    const lines = readFileSync(join(dist, file), "utf8").split("\n");
    for (const [at, line] of lines.entries()) {
      const name = EXPORT.exec(line)?.[1];
      const above = lines[at - 1]?.trim() ?? "";
      if (name !== undefined && !above.endsWith("*/") && !above.includes(` ${name}(`))
        bare.push(`${file}: ${name}`);
    }
  }
  return bare;
}
