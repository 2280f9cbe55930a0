/**
 * The page's only style sheet. Colours are told apart by lightness too, and what is not lazy is drawn as an outline, so that the pictures
 * can be read in black and white.
 */
export const PAGE_STYLE = `
:root { color-scheme: light dark;
  --back: #ffffff; --text: #1c2330; --dim: #5b6575; --line: #d9dee7; --panel: #f5f7fa;
  --lazy: #2f6fde; --whole: #8a93a3; --index: #d9730d; --file: #2f8f7a; }
@media (prefers-color-scheme: dark) { :root {
  --back: #14181f; --text: #e4e8ef; --dim: #9aa5b5; --line: #313946; --panel: #1c222c;
  --lazy: #6ea0ff; --whole: #8b96a8; --index: #f0a04b; --file: #5cc4ac; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 64rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.1rem; }
p { margin: .25rem 0; }
.lead, figcaption, .note { color: var(--dim); }
code { font: .86em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 1.25rem 0; }
dl.facts dt { color: var(--dim); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
ul.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
ul.tiles li { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); }
ul.tiles strong { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
ul.tiles span { color: var(--dim); }
figure { margin: 0 0 1rem; }
figcaption { margin-bottom: .6rem; font-size: .92em; }
.key { display: inline-block; margin-right: 1.1rem; white-space: nowrap; }
.key svg { width: 1.1em; height: .8em; margin-right: .4em; vertical-align: baseline; }
.picture { display: block; width: 100%; height: auto; overflow: visible; }
.picture text { fill: var(--text); font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.picture .label { fill: var(--dim); }
.picture .name { font: 11px ui-monospace, monospace; }
rect.lazy { fill: var(--lazy); } rect.index { fill: var(--index); } rect.file { fill: var(--file); }
rect.whole { fill: var(--panel); stroke: var(--whole); stroke-width: 1.25; stroke-dasharray: 4 2; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92em; }
caption { padding-bottom: .4rem; color: var(--dim); text-align: left; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.text { overflow-wrap: anywhere; }
td.short { white-space: nowrap; }
footer { margin-top: 3rem; color: var(--dim); font-size: .85em; }
@media print {
  :root { color-scheme: light; --back: #ffffff; --text: #000000; --dim: #444444; --line: #bbbbbb; --panel: #ffffff; --lazy: #2f6fde; --whole: #666666; --index: #d9730d; --file: #2f8f7a; }
  body { max-width: none; padding: 0; font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; }
}
`;
