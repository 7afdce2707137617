// How many streams there were when, the failed ones red; drag over it to choose a time.

import { html, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { clock, count, counted, day, failed } from "./format.js";

const BINS = 120;
const HEIGHT = 44;

/** Counts of rows in equal parts of their time. */
export function bins(rows) {
  let start = Infinity;
  let end = -Infinity;
  for (const { t } of rows) {
    if (t < start) start = t;
    if (t > end) end = t;
  }
  const width = Math.max(1, end - start + 1) / BINS;
  const good = new Array(BINS).fill(0);
  const bad = new Array(BINS).fill(0);
  for (const row of rows) {
    const at = Math.min(BINS - 1, Math.floor((row.t - start) / width));
    (failed(row) ? bad : good)[at]++;
  }
  return { start, end: end + 1, width, good, bad, most: Math.max(1, ...good.map((each, at) => each + bad[at])) };
}

/** The strip. `chosen` is a span `[from, to)` or null; `choose` takes another. */
export function Strip({ rows, chosen, choose }) {
  const found = useMemo(() => (rows.length ? bins(rows) : null), [rows]);
  const box = useRef(null);
  const [drag, setDrag] = useState(null);
  if (!found) return html`<div class="strip strip-empty" aria-hidden="true"></div>`;
  const { start, end, width, good, bad, most } = found;
  const share = (us) => Math.min(1, Math.max(0, (us - start) / (end - start)));
  const under = (event) => {
    const { left, width: wide } = box.current.getBoundingClientRect();
    return start + Math.min(1, Math.max(0, (event.clientX - left) / wide)) * (end - start);
  };
  const down = (event) => {
    if (event.button) return;
    box.current.setPointerCapture(event.pointerId);
    setDrag([under(event), under(event)]);
  };
  const move = (event) => drag && setDrag([drag[0], under(event)]);
  const up = () => {
    if (!drag) return;
    const [from, to] = [...drag].sort((a, b) => a - b);
    setDrag(null);
    const one = start + Math.floor((from - start) / width) * width;
    if (to - from < width / 2) choose(chosen ? null : [Math.floor(one), Math.ceil(one + width)]);
    else choose([Math.floor(from), Math.ceil(to)]);
  };
  const [from, to] = drag ? [...drag].sort((a, b) => a - b) : chosen ?? [0, 0];
  const wrong = bad.reduce((sum, each) => sum + each, 0);
  const label = `${counted(rows.length, "stream")} from ${day(start)} ${clock(start)} to ${clock(end)}, ${count(wrong)} failed`;
  const bar = (at) => {
    const tall = ((good[at] + bad[at]) / most) * (HEIGHT - 2);
    const red = bad[at] ? Math.max(2, (bad[at] / most) * (HEIGHT - 2)) : 0;
    return html`
      ${good[at] > 0 && html`<rect class="strip-good" x=${at} width="0.8" y=${HEIGHT - Math.max(1.5, tall)} height=${Math.max(1.5, tall)} />`}
      ${red > 0 && html`<rect class="strip-bad" x=${at} width="0.8" y=${HEIGHT - red} height=${red} />`}`;
  };
  return html`
    <div class="strip" ref=${box} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => setDrag(null)}>
      <svg viewBox=${`0 0 ${BINS} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${label}>
        ${good.map((_, at) => (good[at] || bad[at] ? bar(at) : null))}
      </svg>
      ${(drag || chosen) && html`
        <div class="strip-chosen" style=${{ left: `${share(from) * 100}%`, width: `${Math.max(0.2, (share(to) - share(from)) * 100)}%` }}></div>`}
      <div class="strip-times" aria-hidden="true">
        <span>${day(start)} ${clock(start)}</span><span>${clock(end)}</span>
      </div>
    </div>`;
}
