// The machine as it is declared, with the way that one stream took through it.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { counted, span } from "./format.js";

const BOX = { width: 128, height: 40 };

/** The steps of a choice from state to state: where it came to, when, and for how long. */
export function steps(phases, choice = 0) {
  const found = [];
  for (const { state, start_us, end_us, choice: own = 0 } of phases) {
    if (own !== choice) continue;
    if (found.at(-1)?.state === state) found.at(-1).end_us = end_us;
    else found.push({ state, start_us, end_us });
  }
  return found;
}

/** Centres of the states: those that lead on in one line, the last ones in another beside it. */
export function places(machine, upright) {
  const final = new Set(machine.final);
  const going = machine.states.filter((state) => !final.has(state));
  const last = machine.states.filter((state) => final.has(state));
  const along = upright ? BOX.height + 52 : BOX.width + 62;
  const across = upright ? BOX.width + 52 : BOX.height + 90;
  const lines = [going, last];
  const most = Math.max(going.length, last.length);
  const found = {};
  lines.forEach((line, row) => {
    const step = (along * (most - 1)) / Math.max(1, line.length - 1);
    const spread = line.length === most ? along : Math.min(step, along * 1.6);
    const from = (along * (most - 1) - spread * (line.length - 1)) / 2;
    line.forEach((state, at) => {
      const one = from + spread * at;
      const other = row * across;
      found[state] = upright ? { x: other, y: one } : { x: one, y: other };
    });
  });
  return found;
}

function edge(source, target, upright) {
  const { width, height } = BOX;
  if (source === target) return null;
  const dx = target.x - source.x;
  const dy = target.y - source.y;
  const same = upright ? dx === 0 : dy === 0;
  if (same) {
    // Along a line: straight to the next one, over the others in an arc; back on the other side.
    const far = upright ? dy : dx;
    const next = Math.abs(far) < (upright ? height + 60 : width + 70) && far > 0;
    const sign = Math.sign(far);
    const hops = Math.abs(far) / (upright ? height + 52 : width + 62);
    const bend = next ? 0 : -(upright ? 14 + 9 * hops : 20 + 15 * hops) * (sign > 0 ? 1 : 1.3);
    if (upright) {
      const y1 = source.y + (sign * height) / 2;
      const y2 = target.y - (sign * height) / 2;
      return next ? `M${source.x} ${y1}V${y2 - 4}` : `M${source.x - width / 2} ${source.y}C${source.x - width / 2 + bend} ${source.y} ${target.x - width / 2 + bend} ${target.y} ${target.x - width / 2 - 4} ${target.y}`;
    }
    const x1 = source.x + (sign * width) / 2;
    const x2 = target.x - (sign * width) / 2;
    return next ? `M${x1} ${source.y}H${x2 - 4}` : `M${source.x} ${source.y - height / 2}C${source.x} ${source.y - height / 2 + bend * 1.25} ${target.x} ${target.y - height / 2 + bend * 1.25} ${target.x} ${target.y - height / 2 - 4}`;
  }
  if (upright) {
    const x1 = source.x + width / 2;
    const x2 = target.x - width / 2 - 4;
    return `M${x1} ${source.y}C${(x1 + x2) / 2} ${source.y} ${(x1 + x2) / 2} ${target.y} ${x2} ${target.y}`;
  }
  const y1 = source.y + height / 2;
  const y2 = target.y - height / 2 - 4;
  return `M${source.x} ${y1}C${source.x} ${(y1 + y2) / 2} ${target.x} ${(y1 + y2) / 2} ${target.x} ${y2}`;
}

/** The drawing, and the same in words. */
export function Path({ machine, phases }) {
  const box = useRef(null);
  const [upright, setUpright] = useState(false);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => requestAnimationFrame(() => setUpright(entry.contentRect.width < 720)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const taken = useMemo(() => steps(phases), [phases]);
  const at = useMemo(() => places(machine, upright), [machine, upright]);
  const visited = new Map();
  const ways = new Map();
  taken.forEach((step, number) => {
    visited.set(step.state, (visited.get(step.state) ?? 0) + step.end_us - step.start_us);
    const before = taken[number - 1];
    if (before) ways.set(`${before.state} ${step.state}`, (ways.get(`${before.state} ${step.state}`) ?? 0) + 1);
  });
  const all = Object.values(at);
  const margin = upright ? { x: BOX.width / 2 + 60, y: BOX.height / 2 + 12 } : { x: BOX.width / 2 + 12, y: BOX.height / 2 + 92 };
  const left = Math.min(...all.map((each) => each.x)) - margin.x;
  const top = Math.min(...all.map((each) => each.y)) - margin.y;
  const width = Math.max(...all.map((each) => each.x)) + BOX.width / 2 + 12 - left;
  const height = Math.max(...all.map((each) => each.y)) + BOX.height / 2 + 16 - top;
  const arrows = machine.arrows
    .filter((arrow) => arrow.source !== arrow.target)
    .map((arrow) => ({ ...arrow, lit: ways.get(`${arrow.source} ${arrow.target}`) }))
    .sort((a, b) => (a.lit ? 1 : 0) - (b.lit ? 1 : 0));
  return html`
    <div class="path" ref=${box}>
      <svg viewBox=${`${left} ${top} ${width} ${height}`} role="img" aria-label=${`The machine of a stream; this one went ${taken.map((step) => step.state).join(", ")}`}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0.5 8 4 0 7.5z" /></marker>
          <marker id="tip-lit" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto-start-reverse"><path d="M0 0.5 8 4 0 7.5z" /></marker>
        </defs>
        ${arrows.map((arrow) => html`
          <path key=${`${arrow.source} ${arrow.target}`} class=${arrow.lit ? "way way-lit" : "way"} d=${edge(at[arrow.source], at[arrow.target], upright)}
            marker-end=${arrow.lit ? "url(#tip-lit)" : "url(#tip)"}><title>${`${arrow.source} → ${arrow.target}: ${arrow.events.join(", ")}`}</title></path>`)}
        ${machine.states.map((state) => html`
          <g key=${state} class=${`node state-${state} ${visited.has(state) ? "node-lit" : ""}`} transform=${`translate(${at[state].x} ${at[state].y})`}>
            <rect x=${-BOX.width / 2} y=${-BOX.height / 2} width=${BOX.width} height=${BOX.height} rx="8" />
            <text y=${visited.has(state) ? -3 : 4}>${state.replaceAll("_", " ")}</text>
            ${visited.has(state) && html`<text class="node-time" y="13">${machine.final.includes(state) ? "the end" : span(visited.get(state))}</text>`}
          </g>`)}
      </svg>
      <ol class="steps">
        ${taken.map((step) => html`
          <li><i class=${`swatch state-${step.state}`} aria-hidden="true"></i><b>${step.state}</b>
            <span>at ${span(step.start_us)}${step.end_us > step.start_us ? `, for ${span(step.end_us - step.start_us)}` : ""}</span></li>`)}
      </ol>
      <p class="quiet-text">${counted(taken.length, "step")} from state to state. An arrow's events are told when it is pointed at.</p>
    </div>`;
}
