// Three lanes on one axis: the client, the machine, the worker; below them a scrubber.

import { html, useMemo } from "./vendor/preact-htm.js";
import { counted, shown, span } from "./format.js";
import { framesAt } from "./play.js";
import { ticks } from "./scale.js";

const JOINED = 0.004;
// Share of the axis below which two marks of a kind are drawn as one.

const NAMED = 0.07;
// Share of the axis from which there is room for a word.

const SPANNED = 0.045;
// Share of the axis from which there is room for a length of time.

const GAPS = 8;
// Silences that are drawn.

const percent = (share) => `${(share * 100).toFixed(3)}%`;
const box = (on, start, end) => {
  const left = on.at(start);
  return { left: percent(left), width: percent(on.at(end) - left) };
};
const inside = (on, start, end) => ({ ...box(on, start, end), left: `min(${percent(on.at(start))}, 100% - 0.45rem)` });
// What is small is widened so that it can be hit, and stays on its track.

/** The part of a band's height that a choice has, where there are several. */
const layer = (choice, choices) => ({ top: percent(choice / choices), height: percent(1 / choices) });

/** Bars of what the client got: frames that follow each other closely are one. */
export function bursts(frames, on) {
  const found = [];
  for (const frame of frames) {
    const last = found.at(-1);
    if (last && on.at(frame.at_us) - on.at(last.end) < JOINED) {
      last.end = frame.at_us;
      last.frames++;
      last.bytes += frame.bytes ?? 0;
      last.lastSeq = frame.seq;
    } else {
      found.push({ start: frame.at_us, end: frame.at_us, frames: 1, bytes: frame.bytes ?? 0, seq: frame.seq, lastSeq: frame.seq });
    }
  }
  return found;
}

/** Marks that lie so near to each other that one button must do for all of them. */
export function gathered(marks, on) {
  const found = [];
  for (const mark of marks) {
    const last = found.at(-1);
    const near = last && on.at(mark.at_us) - on.at(last.end_us) < JOINED;
    if (near && (last.event === mark.event || last.marks.length < 6)) {
      last.marks.push(mark);
      last.end_us = Math.max(last.end_us, mark.end_us);
    } else {
      found.push({ at_us: mark.at_us, end_us: mark.end_us, event: mark.event, seq: mark.seq, marks: [mark] });
    }
  }
  return found;
}

function told(group) {
  return group.marks.map((mark) => `${mark.event.replaceAll("_", " ")}${mark.records > 1 ? ` × ${mark.records}` : ""}`).join(", ");
}

/**
 * The picture. Marks are for pointers: there may be hundreds, some a pixel from the next, so for keys
 * there is the list of records. `seq` is the record that is looked at, `pick` looks at another.
 */
export function Lanes({ timeline, frames, on, now, seq, pick }) {
  const { marks, phases, gaps, received, ending } = timeline;
  const worker = useMemo(() => gathered(marks.filter((mark) => mark.lane === "worker"), on), [marks, on]);
  const machine = useMemo(() => gathered(marks.filter((mark) => mark.lane === "machine"), on), [marks, on]);
  const client = useMemo(() => gathered(marks.filter((mark) => mark.lane === "client"), on), [marks, on]);
  const sent = useMemo(() => bursts(frames, on), [frames, on]);
  const silences = useMemo(
    () => gaps.filter((gap) => gap.end_us > 0 && on.at(gap.end_us) - on.at(gap.start_us) > 0.02).slice(0, GAPS),
    [gaps, on],
  );
  const first = received.first_us;
  const choices = phases.reduce((most, phase) => Math.max(most, (phase.choice ?? 0) + 1), 1);
  return html`
    <div class="lanes">
      <div class="axis" aria-hidden="true">
        ${ticks(on, 8).map(({ us, share }) => html`<span key=${us} style=${{ left: percent(share) }}>${span(us)}</span>`)}
      </div>
      <${Lane} name="Client">
        ${typeof first === "number" && html`
          <div class=${on.at(first) < 0.12 ? "ttft ttft-short" : "ttft"} style=${box(on, 0, first)} title=${`time to first token: ${span(first)}`}>
            <span>TTFT ${span(first)}</span>
          </div>`}
        ${sent.map((burst) => html`
          <button key=${burst.seq} tabindex="-1" class=${`bar sent ${within(seq, burst.seq, burst.lastSeq)}`} style=${inside(on, burst.start, burst.end)}
            onClick=${() => pick(burst.seq)} title=${`${counted(burst.frames, "frame")} to the client at ${span(burst.start)}`}
            aria-label=${`${counted(burst.frames, "frame")} to the client at ${span(burst.start)}`}></button>`)}
        ${client.map((group) => html`<${Mark} key=${group.seq} group=${group} on=${on} seq=${seq} pick=${pick} kind="client" />`)}
        ${ending.kind !== "open" && html`
          <i class=${`end tone-${received.whole ? "good" : "bad"}`} style=${{ left: percent(on.at(ending.at_us)) }}
            title=${received.whole ? "whole" : "not whole"}></i>`}
      <//>
      <${Lane} name="Machine">
        ${phases.map((phase, at) => html`
          <div key=${at} class=${`band state-${phase.state}`} style=${{ ...box(on, phase.start_us, phase.end_us), ...layer(phase.choice ?? 0, choices) }}
            title=${`${phase.state}: ${span(phase.end_us - phase.start_us)}`}>
            ${choices < 3 && on.at(phase.end_us) - on.at(phase.start_us) > NAMED && html`<span>${phase.state.replaceAll("_", " ")}</span>`}
          </div>`)}
        ${machine.map((group) => html`<${Mark} key=${group.seq} group=${group} on=${on} seq=${seq} pick=${pick} kind="machine" />`)}
      <//>
      <${Lane} name="Worker">
        ${silences.map((gap) => html`
          <div key=${gap.start_us} class=${`silence owner-${gap.owner}`} style=${box(on, gap.start_us, gap.end_us)}
            title=${`silence of ${span(gap.end_us - gap.start_us)}: ${gap.owner}`}>
            ${on.at(gap.end_us) - on.at(gap.start_us) > SPANNED && html`
              <span>${span(gap.end_us - gap.start_us)}${on.at(gap.end_us) - on.at(gap.start_us) > NAMED && html` <i>${gap.owner}</i>`}</span>`}
          </div>`)}
        ${worker.map((group) => html`<${Mark} key=${group.seq} group=${group} on=${on} seq=${seq} pick=${pick} kind="worker" />`)}
      <//>
      <div class="playhead" aria-hidden="true"><i style=${{ left: percent(on.at(now)) }}></i></div>
    </div>`;
}

function Lane({ name, children }) {
  return html`
    <div class="lane" role="group" aria-label=${`${name} lane`}>
      <span class="lane-name" aria-hidden="true">${name}</span>
      <div class=${`lane-track lane-${name.toLowerCase()}`}>${children}</div>
    </div>`;
}

function within(seq, first, last) {
  return seq !== null && seq >= first && seq <= last ? "is" : "";
}

function Mark({ group, on, seq, pick, kind }) {
  const last = group.marks.at(-1).last_seq;
  const what = `${told(group)} at ${span(group.at_us)}`;
  const failed = group.marks.some((mark) => /fail|gone|timer|stopping|missed|garbled|dropped/.test(mark.event));
  return html`
    <button tabindex="-1" class=${`bar mark mark-${kind} ${failed ? "mark-bad" : ""} ${within(seq, group.seq, last)}`} style=${inside(on, group.at_us, group.end_us)}
      onClick=${() => pick(group.seq)} title=${shown(what)} aria-label=${shown(what)}></button>`;
}

/** Plays the answer: a slider over the axis, a button, a speed. */
export function Scrubber({ frames, on, now, seek, playing, toggle, speed, setSpeed, children }) {
  const number = framesAt(frames, now);
  const step = (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (event.shiftKey) seek(Math.min(on.end, Math.max(0, now + by * on.end * 0.05)));
    else if (by > 0) seek(frames[number]?.at_us ?? on.end);
    else seek(frames[number - 2]?.at_us ?? 0);
  };
  return html`
    <div class="scrubber">
      <button class="play" onClick=${toggle} aria-label=${playing ? "Pause" : "Play the answer"}>
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d=${playing ? "M4 3h3v10H4zM9 3h3v10H9z" : "M4 2.5v11l9-5.5z"} /></svg>
      </button>
      <input type="range" min="0" max="1000" step="any" value=${on.at(now) * 1000} aria-label="What the client had seen"
        aria-valuetext=${`${span(now)}, ${number} of ${counted(frames.length, "frame")}`} onKeyDown=${step}
        onInput=${(event) => seek(on.moment(Number(event.target.value) / 1000))} />
      <span class="scrubber-time"><b>${span(now)}</b> of ${span(on.end)} · frame ${number} of ${frames.length}</span>
      ${children}
      <label class="speed"><span class="visually-hidden">Speed</span>
        <select value=${String(speed)} onChange=${(event) => setSpeed(Number(event.target.value))}>
          ${[0.25, 1, 2, 10].map((each) => html`<option value=${String(each)}>${each} ×</option>`)}
        </select>
      </label>
    </div>`;
}
