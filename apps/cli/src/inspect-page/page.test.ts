import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { HOSTILE_NAME } from "../testing/forge-index.ts";
import { markup } from "./markup.ts";
import { renderPage } from "./page.ts";
import type { PageData, PageLayer } from "./page-data.ts";

const LAYER: PageLayer = {
  digest: HOSTILE_NAME,
  kind: HOSTILE_NAME,
  sizeBytes: 1000,
  whyNotLazy: HOSTILE_NAME,
  ztocSizeBytes: 10,
  spanCount: 1,
  entryCount: 2,
  indexedBy: HOSTILE_NAME,
};

const HOSTILE: PageData = {
  title: HOSTILE_NAME,
  facts: [[HOSTILE_NAME, HOSTILE_NAME]],
  layers: [LAYER, { ...LAYER, whyNotLazy: undefined, sizeBytes: 0 }],
  files: [{ name: HOSTILE_NAME.repeat(3), layer: 1, sizeBytes: 5 }],
  indexes: [{ what: HOSTILE_NAME, origin: HOSTILE_NAME, isTaken: false, why: HOSTILE_NAME }],
  sizes: { imageBytes: 1000, lazyBytes: 400, indexBytes: 10 },
};

const HARMLESS: PageData = {
  ...HOSTILE,
  title: "app",
  facts: [["a", "b"]],
  layers: HOSTILE.layers.map((layer) => ({ ...layer, digest: "d", kind: "gzip", indexedBy: "t" })),
  files: [{ name: "f", layer: 1, sizeBytes: 5 }],
  indexes: [{ what: "i", origin: "local", isTaken: false, why: "w" }],
};

function tagsOf(page: string): readonly string[] {
  return page.match(/<[^>]*>/g) ?? [];
}

describe("markup``", () => {
  it("escapes text, and takes markup as it is", () => {
    const text = `<a b='c' d="e">&\`\0\u202e\ud800`;
    assert.equal(
      markup`<p title="${text}">${[markup`<b>${1}</b>`]}</p>`.text,
      `<p title="&#60;a b=&#39;c&#39; d=&#34;e&#34;&#62;&#38;&#96;\\u{0}\\u{202e}\\u{d800}"><b>1</b></p>`,
    );
  });
});

describe("renderPage()", () => {
  it("has the same elements and attributes whatever text comes from an image", () => {
    const shape = (page: string): string[] =>
      tagsOf(page).map((tag) => tag.replace(/="[^"]*"/g, "=").replace(/ +/g, " "));
    assert.deepEqual(shape(renderPage(HOSTILE)), shape(renderPage(HARMLESS)));
    const page = renderPage(HOSTILE);
    assert.ok(!/<script|<img|\son\w+=/i.test(tagsOf(page).join("")));
    for (const char of ["\0", "\u202e", "\u001b"]) assert.ok(!page.includes(char));
    assert.ok(page.includes("\\u{202e}gnp.exe\\u{0}"));
  });

  it("allows nothing but its own style sheet, and asks for nothing", () => {
    const page = renderPage(HARMLESS);
    const style = page.split("<style>")[1]?.split("</style>")[0] ?? "";
    const digest = createHash("sha256").update(style).digest("base64");
    const policy = `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`;
    assert.ok(page.includes(`content="${policy.replaceAll("'", "&#39;")}"`));
    assert.ok(!/\s(src|href|style|srcset|action)=/.test(page));
    assert.ok(!/url\(|@import/.test(style));
  });

  it("draws each layer once, with a table that says the same, also without any", () => {
    const layers = Array.from({ length: 100 }, (_, at) => ({ ...LAYER, sizeBytes: at }));
    const page = renderPage({ ...HARMLESS, layers });
    assert.equal(page.match(/<title>Layer \d+,/g)?.length, 100);
    assert.equal(page.match(/<svg class="picture" role="img" aria-labelledby=/g)?.length, 3);
    const sizes = { imageBytes: 0, lazyBytes: 0, indexBytes: 0 };
    const empty = renderPage({ ...HARMLESS, layers: [], files: [], indexes: [], sizes });
    assert.match(empty, /No index was found/);
    assert.ok(!/NaN|Infinity|undefined/.test(page + empty));
  });
});
