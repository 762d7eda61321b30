/**
 * Writes the style sheet. Colours of strategies are those of Okabe and Ito, which colour-blind readers can distinguish.
 * These colours are a little darker on white and a little lighter on black.
 * Purposes of bytes are shades of one hue, so readers do not mistake them for strategies.
 */

const LIGHT = `
  --paper: #ffffff; --panel: #f5f7f9; --ink: #1a1f26; --muted: #566170; --grid: #e3e7ec; --edge: #cfd6de;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #c0619a; --c4: #d98b00; --c5: #3f9fd8; --c6: #4d5561; --c7: #a69a00;
  --b0: #1f4254; --b1: #477189; --b2: #779fb3; --b3: #a8c5d3; --b4: #d0e0e8; --b5: #8d939b;
  --yes: #00704f; --no: #a63c00; --open: #566170;`

const DARK = `
  --paper: #14171b; --panel: #1c2126; --ink: #e7eaee; --muted: #a3adb9; --grid: #2b3138; --edge: #3b434c;
  --c0: #3f9ddb; --c1: #f0803c; --c2: #21b98d; --c3: #df92be; --c4: #f0b13a; --c5: #97d2f6; --c6: #b9c0c9; --c7: #f0e442;
  --b0: #d6e7ef; --b1: #a6c6d6; --b2: #789fb4; --b3: #507890; --b4: #33566b; --b5: #727983;
  --yes: #4fd3a6; --no: #ff9a62; --open: #a3adb9;`

const RULES = `
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1rem 4rem; max-width: 66rem; font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", "Open Sans", sans-serif; font-variant-numeric: tabular-nums;
}
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0.1rem 0 0.6rem; }
h2 { font-size: 1.3rem; line-height: 1.3; letter-spacing: -0.005em; margin: 0 0 0.4rem; }
h4 { font-size: 0.95rem; line-height: 1.35; margin: 0 0 0.5rem; }
p { margin: 0 0 0.8rem; max-width: 44rem; }
section { margin: 3rem 0 0; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: 0.2em; }
code { font: 0.9em ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--edge); border-radius: 6px; padding: 0.7rem 0.9rem; white-space: pre-wrap; }
.over { color: var(--muted); font-size: 0.85rem; margin: 0; }
.note, figcaption { color: var(--muted); font-size: 0.85rem; line-height: 1.45; max-width: 44rem; }
.says { font-size: 1.05rem; }
ul.plain { padding-left: 1.1rem; max-width: 44rem; }
ul.plain li { margin: 0 0 0.4rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.35rem 1.4rem; margin: 0.6rem 0 0; max-width: 54rem; }
dt { font-weight: 600; }
dd { margin: 0; color: var(--muted); }
.recommendation { border-left: 4px solid var(--c2); background: var(--panel); border-radius: 0 6px 6px 0; padding: 0.8rem 1rem; margin: 0 0 0.8rem; }
.recommendation.none { border-color: var(--edge); }
.recommendation h3 { font-size: 0.85rem; color: var(--muted); font-weight: 600; margin: 0 0 0.15rem; }
.recommendation p { margin: 0; max-width: none; font-size: 1.05rem; line-height: 1.45; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; padding: 0; margin: 1.2rem 0 0; font-size: 0.9rem; }

.legend {
  position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 0.15rem 1.1rem; margin: 2.5rem 0 0; padding: 0.5rem 0;
  border: 0; border-bottom: 1px solid var(--edge); background: var(--paper); font-size: 0.9rem; min-width: 0;
}
.legend legend { float: left; padding: 0; margin-right: 1.1rem; color: var(--muted); }
.legend label { display: inline-flex; align-items: center; gap: 0.4rem; cursor: pointer; }
.legend input { accent-color: var(--muted); margin: 0; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; padding: 0; margin: 0 0 0.5rem; font-size: 0.82rem; color: var(--muted); }
.key li { display: inline-flex; align-items: center; gap: 0.35rem; }
.key i { width: 0.8em; height: 0.8em; border-radius: 2px; background: var(--b); }

.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2rem 2.2rem; margin-top: 1.4rem; align-items: start; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure.wide { grid-column: 1 / -1; }
figcaption { margin-top: 0.4rem; }
svg { display: block; }
.drawing svg { width: 100%; height: auto; font-size: 13px; overflow: hidden; }
.swatch { flex: none; }
text { fill: var(--ink); }
.tick, .axis { fill: var(--muted); font-size: 12.5px; }
.missing { fill: var(--muted); font-style: italic; }
.halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.grid { stroke: var(--grid); }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.r1 { stroke-dasharray: 6 4; } .line.r2 { stroke-dasharray: 1.5 4; }
.band { fill: var(--c); fill-opacity: 0.14; }
.target { stroke: var(--ink); stroke-dasharray: 3 4; }
.bar { fill: var(--c); }
.bar.hollow { fill-opacity: 0.18; stroke: var(--c); stroke-width: 1.5; }
.r1 .bar, .r2 .bar { fill-opacity: 0.55; }
.error { stroke: var(--ink); stroke-width: 1.4; }
.part { fill: var(--b); stroke: var(--paper); stroke-width: 1; }
.lane { stroke: var(--edge); stroke-width: 3; stroke-linecap: round; }
.loss { stroke: var(--muted); stroke-width: 1.2; }
.mark { fill: var(--c); stroke: var(--paper); stroke-width: 1; }
.stopped { fill: none; stroke: var(--no); stroke-width: 2.5; stroke-linecap: round; }

.scroll { overflow-x: auto; margin: 0.8rem 0 0.4rem; }
table { border-collapse: collapse; font-size: 0.88rem; line-height: 1.4; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1.3rem 0.35rem 0; border-bottom: 1px solid var(--grid); font-weight: 400; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); border-bottom-color: var(--edge); vertical-align: bottom; }
.n { text-align: right; }
.n, tbody th, .verdict { white-space: nowrap; }
[data-table=claims] td { min-width: 7rem; }
[data-table=claims] td:nth-child(2), [data-table=claims] td:nth-child(6) { min-width: 13rem; }
.verdict { font-weight: 600; }
.yes { color: var(--yes); } .no { color: var(--no); } .open { color: var(--open); }

@media (max-width: 46rem) {
  body { padding-top: 1.4rem; }
  h1 { font-size: 1.55rem; }
  .charts { grid-template-columns: minmax(0, 1fr); }
  .legend { position: static; }
  .wide .drawing { overflow-x: auto; }
  .wide svg:not(.swatch) { min-width: 56rem; }
  figcaption, .note { font-size: 0.8rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: 0.5rem; }
}
@page { margin: 14mm; }
@media print {
  body { padding: 0; max-width: none; font-size: 11pt; }
  .legend { position: static; } .legend input, .legend legend, nav { display: none; }
  .scroll, .wide .drawing { overflow: visible; }
  .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .wide svg:not(.swatch) { min-width: 0; }
  .recommendation, tr { break-inside: avoid; } h2, h4, section > p { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}`

/** Style sheet for a report. Switch `show-N` hides the lines of strategy N and fades its rows. */
export function styleSheet(colours: number, shades: number, strategies: number): string {
  const each = (count: number, rule: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => rule(i)).join('\n')
  return [
    `:root { color-scheme: light dark;${LIGHT} }`,
    `@media (prefers-color-scheme: dark) { :root {${DARK} } }`,
    `@media print { :root { color-scheme: light;${LIGHT} } }`,
    RULES,
    each(colours, (i) => `.c${i} { --c: var(--c${i}); }`),
    each(shades, (i) => `.b${i} { --b: var(--b${i}); }`),
    each(
      strategies,
      (i) =>
        `:root:has(#show-${i}:not(:checked)) :is(.line, .band).of-${i} { display: none; }\n` +
        `:root:has(#show-${i}:not(:checked)) .row.of-${i} { opacity: 0.2; }`,
    ),
  ].join('\n')
}
