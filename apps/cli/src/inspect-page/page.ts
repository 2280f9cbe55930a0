import { createHash } from "node:crypto";
import { formatBytes } from "../output.ts";
import { Markup, markup } from "./markup.ts";
import type { PageData, PageFile, PageIndex, PageLayer, PageSizes } from "./page-data.ts";
import { filesPicture, layersPicture, summaryPicture } from "./picture.ts";
import { PAGE_STYLE } from "./style.ts";

/**
 * One page that needs nothing else and runs nothing: its policy allows the style sheet in it, by digest, and forbids all other
 * content. Whatever comes from an image stands in it as text.
 */
export function renderPage(data: PageData): string {
  const { title, facts, layers, files, indexes, sizes } = data;
  const page = markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title} – lazy loading</title>
<style>${Markup.trusted(PAGE_STYLE)}</style>
</head>
<body>
<main>
<h1><bdi>${title}</bdi></h1>
<p class="lead">What lazy loading does for this image</p>
${tiles(layers, sizes)}
<figure>
<figcaption>${keys(["index", "Index, fetched first"], ["lazy", "Fetched as it is read"], ["whole", "Fetched whole"])}</figcaption>
${summaryPicture(sizes)}
</figure>
<dl class="facts">${facts.map(([name, value]) => markup`<dt>${name}</dt><dd><bdi>${value}</bdi></dd>`)}</dl>
${layersSection(layers)}
${filesSection(files)}
${indexesSection(indexes)}
</main>
<footer>Made by <code>soci inspect</code>. Sizes in powers of 1000.</footer>
</body>
</html>
`;
  return page.text;
}

/** See https://www.w3.org/TR/CSP3/. */
function policy(): string {
  const digest = createHash("sha256").update(PAGE_STYLE).digest("base64");
  return `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`;
}

function tiles(layers: readonly PageLayer[], sizes: PageSizes): Markup {
  const { imageBytes, lazyBytes, indexBytes } = sizes;
  const lazyLayers = layers.filter(({ whyNotLazy }) => whyNotLazy === undefined).length;
  const tile = (value: string, about: string): Markup =>
    markup`<li><strong>${value}</strong><span>${about}</span></li>`;
  return markup`<ul class="tiles">${[
    tile(formatBytes(imageBytes), `the image, in ${plural(layers.length, "layer")}`),
    tile(
      formatBytes(lazyBytes),
      `lazy: ${share(lazyBytes, imageBytes)}, ${plural(lazyLayers, "layer")}`,
    ),
    tile(formatBytes(imageBytes - lazyBytes), "fetched whole"),
    tile(formatBytes(indexBytes), `index: ${share(indexBytes, imageBytes)} of the image`),
  ]}</ul>`;
}

function layersSection(layers: readonly PageLayer[]): Markup {
  const rows = layers.map(
    (
      layer,
      at,
    ) => markup`<tr><td class="number">${at}</td><td class="short"><code>${layer.digest.slice(0, 19)}</code></td><td>${layer.kind}</td><td class="number">${formatBytes(layer.sizeBytes)}</td><td class="number">${layer.ztocSizeBytes > 0 ? formatBytes(layer.ztocSizeBytes) : "–"}</td><td class="number">${layer.spanCount ?? "–"}</td><td class="number">${layer.entryCount ?? "–"}</td><td class="text">${layer.whyNotLazy === undefined ? "lazy" : `whole: ${layer.whyNotLazy}`}</td><td class="text"><bdi>${layer.indexedBy ?? "–"}</bdi></td></tr>
`,
  );
  return markup`<section><h2>Layers</h2>
<figure>
<figcaption>${keys(["lazy", "Lazy"], ["whole", "Fetched whole"], ["index", "Its ztoc, in the same measure"])}</figcaption>
${layersPicture(layers)}
</figure>
<div class="scroll"><table><caption>Layers, from the bottom</caption>
<thead><tr><th scope="col" class="number">#</th><th scope="col">Digest</th><th scope="col">Kind</th><th scope="col" class="number">Size</th><th scope="col" class="number">Ztoc</th><th scope="col" class="number">Spans</th><th scope="col" class="number">Files</th><th scope="col">Loading</th><th scope="col">Indexed by</th></tr></thead>
<tbody>${rows}</tbody></table></div></section>`;
}

function filesSection(files: readonly PageFile[]): Markup {
  if (files.length === 0) return markup``;
  const rows = files.map(
    ({ name, layer, sizeBytes }) =>
      markup`<tr><td class="text"><code><bdi>${name}</bdi></code></td><td class="number">${layer}</td><td class="number">${formatBytes(sizeBytes)}</td></tr>
`,
  );
  return markup`<section><h2>Largest files</h2>
<figure><figcaption>Uncompressed sizes of files in lazy layers, also of those that a higher layer hides</figcaption>
${filesPicture(files)}
</figure>
<div class="scroll"><table><caption>Largest files of lazy layers</caption>
<thead><tr><th scope="col">Name</th><th scope="col" class="number">Layer</th><th scope="col" class="number">Size</th></tr></thead>
<tbody>${rows}</tbody></table></div></section>`;
}

function indexesSection(indexes: readonly PageIndex[]): Markup {
  if (indexes.length === 0) {
    return markup`<section><h2>Index</h2><p>No index was found, in the store or beside the image.</p></section>`;
  }
  const rows = indexes.map(
    ({ what, origin, isTaken, why }) =>
      markup`<tr><td>${isTaken ? "taken" : "not taken"}</td><td>${origin}</td><td class="text"><code><bdi>${what}</bdi></code></td><td class="text"><bdi>${why}</bdi></td></tr>
`,
  );
  return markup`<section><h2>Index</h2>
<div class="scroll"><table><caption>Indexes that were looked at</caption>
<thead><tr><th scope="col">State</th><th scope="col">Where</th><th scope="col">Index</th><th scope="col">Why</th></tr></thead>
<tbody>${rows}</tbody></table></div></section>`;
}

function keys(...entries: readonly (readonly [kind: string, text: string])[]): Markup {
  return markup`${entries.map(
    ([kind, text]) =>
      markup`<span class="key"><svg viewBox="0 0 22 16" aria-hidden="true"><rect class="${kind}" x="1" y="1" width="20" height="14" rx="2"/></svg>${text}</span>`,
  )}`;
}

function share(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${((100 * part) / whole).toFixed(1)} %`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
