import { formatBytes } from "../output.ts";
import { visible } from "../visible.ts";
import { type Markup, type MarkupPart, markup } from "./markup.ts";
import type { PageFile, PageLayer, PageSizes } from "./page-data.ts";

/*
 * Measures in units of the pictures' own coordinates, which the page stretches to its width:
 *   0..LABEL_END        labels, set against the bars
 *   BAR_START..BAR_END  bars; the longest fills it
 *   ..WIDTH             sizes behind the bars
 */
const WIDTH = 960;
const LABEL_END = 124;
const BAR_START = 136;
const BAR_END = 850;
const ROW = 34;
const BAR_HEIGHT = 16;
const INDEX_HEIGHT = 5;
/** A bar that is there can be seen. */
const MIN_BAR = 1.5;
/** Longest label that fits before the bars of the files. */
const MAX_FILE_LABEL = 44;
const FILE_BAR_START = 330;

/** The whole image as one bar: what is fetched as it is read, what whole, and the index. */
export function summaryPicture({ imageBytes, lazyBytes, indexBytes }: PageSizes): Markup {
  const scale = scaleOf([imageBytes + indexBytes], 0, WIDTH);
  const lazy = scale(lazyBytes);
  const whole = scale(imageBytes - lazyBytes);
  const index = scale(indexBytes);
  const parts: readonly [string, string, number, number][] = [
    ["index", `Index: ${formatBytes(indexBytes)}`, 0, index],
    ["lazy", `Fetched as it is read: ${formatBytes(lazyBytes)}`, index, lazy],
    ["whole", `Fetched whole: ${formatBytes(imageBytes - lazyBytes)}`, index + lazy, whole],
  ];
  const bars = parts
    .filter(([, , , width]) => width > 0)
    .map(([kind, title, x, width]) => bar({ kind, title, x, y: 0, width, height: 28 }));
  const description = parts.map(([, title]) => title).join(". ");
  return picture("summary", "The image's bytes", description, 28, bars);
}

/** A bar for each layer, below it one for its ztoc in the same measure. */
export function layersPicture(layers: readonly PageLayer[]): Markup {
  const scale = scaleOf(
    layers.map(({ sizeBytes }) => sizeBytes),
    BAR_START,
    BAR_END,
  );
  const rows = layers.map((layer, at) => layerRow(layer, at, scale));
  const lazy = layers.filter(({ whyNotLazy }) => whyNotLazy === undefined).length;
  const description = `${layers.length} layers, from the bottom; ${lazy} of them lazy. The table below says the same.`;
  return picture("layers", "Sizes of the layers", description, layers.length * ROW, rows);
}

function layerRow(layer: PageLayer, at: number, scale: (bytes: number) => number): Markup {
  const { kind, sizeBytes, whyNotLazy, ztocSizeBytes } = layer;
  const y = at * ROW;
  const width = scale(sizeBytes);
  const how = whyNotLazy === undefined ? "lazy" : `whole: ${whyNotLazy}`;
  const title = `Layer ${at}, ${kind}, ${formatBytes(sizeBytes)}, ${how}`;
  const main = { kind: whyNotLazy === undefined ? "lazy" : "whole", title, x: BAR_START, width };
  const ztoc = {
    kind: "index",
    title: `Ztoc of layer ${at}: ${formatBytes(ztocSizeBytes)}`,
    x: BAR_START,
    y: y + BAR_HEIGHT + 3,
    width: scale(ztocSizeBytes),
    height: INDEX_HEIGHT,
  };
  return markup`<text class="label" x="${LABEL_END}" y="${y + 13}" text-anchor="end">${at} · ${kind}</text>
${bar({ ...main, y, height: BAR_HEIGHT })}${ztocSizeBytes > 0 ? bar(ztoc) : ""}
<text class="size" x="${round(BAR_START + width + 8)}" y="${y + 13}">${formatBytes(sizeBytes)}</text>
`;
}

/** A bar for each of the largest files. */
export function filesPicture(files: readonly PageFile[]): Markup {
  const scale = scaleOf(
    files.map(({ sizeBytes }) => sizeBytes),
    FILE_BAR_START,
    BAR_END,
  );
  const height = ROW - 8;
  const rows = files.map(({ name, sizeBytes, layer }, at) => {
    const y = at * height;
    const width = scale(sizeBytes);
    const title = `${name}, layer ${layer}, ${formatBytes(sizeBytes)}`;
    const label = shortened(name);
    return markup`<text class="label name" x="${FILE_BAR_START - 12}" y="${y + 13}" text-anchor="end">${label}</text>
${bar({ kind: "file", title, x: FILE_BAR_START, y, width, height: BAR_HEIGHT })}
<text class="size" x="${round(FILE_BAR_START + width + 8)}" y="${y + 13}">${formatBytes(sizeBytes)}</text>
`;
  });
  const description = `The ${files.length} largest files of lazy layers. The table below says the same.`;
  return picture("files", "Largest files", description, files.length * height, rows);
}

interface Bar {
  /** Decides how it is filled. */
  readonly kind: string;
  /** Shown when pointed at, and read aloud. */
  readonly title: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function bar({ kind, title, x, y, width, height }: Bar): Markup {
  return markup`<rect class="${kind}" x="${round(x)}" y="${y}" width="${round(width)}" height="${height}" rx="2"><title>${title}</title></rect>`;
}

function picture(
  id: string,
  title: string,
  description: string,
  ...[height, rows]: [number, MarkupPart & readonly Markup[]]
): Markup {
  return markup`<svg class="picture" role="img" aria-labelledby="${id}-title ${id}-about" viewBox="0 0 ${WIDTH} ${height}" xmlns="http://www.w3.org/2000/svg">
<title id="${id}-title">${title}</title><desc id="${id}-about">${description}</desc>
${rows}</svg>`;
}

/** Lengths in a picture for numbers of bytes, the largest of which fills it. */
function scaleOf(
  values: readonly number[],
  start: number,
  end: number,
): (sizeBytes: number) => number {
  const largest = Math.max(1, ...values);
  return (sizeBytes) =>
    sizeBytes === 0 ? 0 : Math.max(MIN_BAR, ((end - start) * sizeBytes) / largest);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A path without its middle: the file's own name is at its end. */
function shortened(name: string): string {
  const shown = visible(name);
  const chars = [...shown];
  if (chars.length <= MAX_FILE_LABEL) return shown;
  return `${chars.slice(0, 12).join("")}…${chars.slice(13 - MAX_FILE_LABEL).join("")}`;
}
