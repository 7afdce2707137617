// Two streams beside each other, phase by phase.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { clock, counted, day, shown, span } from "./format.js";
import { go, url } from "./route.js";
import { scale } from "./scale.js";
import { steps } from "./path.js";

const LOOKED_AT = 2000;
// Rows among which a good one is looked for.

const NEAR = ["10m", "1d", ""];
// How far from the stream it is looked for, one after the other; at last among the newest.

const WHOLE = new Set(["stop", "tool_calls", "function_call"]);
const FLAGS = ["streaming", "n", "effort", "worker"];
const UNSAID = { streaming: true, n: 1, effort: "", worker: "" };
// As `turntape diff` has them, and what a row means that does not say one.

/**
 * The good stream to compare with: whole, of the same model and endpoint, with as many of the other
 * flags as there are, and of these the nearest in time. `request` is that of the stream.
 */
export function nearest(rows, request) {
  let best = null;
  for (const row of rows) {
    if (row.summary === request.stream || row.kind !== "completed" || row.purged) continue;
    if (row.model !== request.model || row.endpoint !== request.endpoint) continue;
    if (!(row.finish_reasons ?? []).every((reason) => WHOLE.has(reason))) continue;
    const same = FLAGS.filter((flag) => (row[flag] ?? UNSAID[flag]) === (request[flag] ?? UNSAID[flag])).length;
    const apart = Math.abs(row.t - (row.duration_us ?? 0) - request.opened_us);
    if (!best || same > best.same || (same === best.same && apart < best.apart)) best = { row, same, apart };
  }
  return best && best.row;
}

/** The same, from where the log has them. */
async function good(log, request) {
  for (const within of NEAR) {
    const near = within && `around:${Math.round(request.opened_us / 1e6)} within:${within}`;
    const { rows } = await log.rows(`kind:completed ${near}`.trim(), "", LOOKED_AT);
    const found = nearest(rows, request);
    if (found) return found.summary;
  }
  return "";
}

/** How long a stream was in each state. */
export function totals(phases) {
  const found = new Map();
  for (const { state, start_us, end_us } of steps(phases)) found.set(state, (found.get(state) ?? 0) + end_us - start_us);
  return found;
}

/** The view: what it is held against is `other`, or the nearest good one. */
export function Compare({ log, timeline, other, at }) {
  const [found, set] = useState({});
  const stream = timeline.request.stream;
  useEffect(() => {
    let mine = true;
    const load = async () => {
      set({});
      try {
        let id = other;
        if (!id) id = await good(log, timeline.request);
        if (mine) set(id ? { timeline: await log.timeline(id) } : { problem: "No whole stream of that model and endpoint was found. Name one." });
      } catch (error) {
        if (mine) set({ problem: error.message });
      }
    };
    load();
    return () => (mine = false);
  }, [log, stream, other]);
  const choose = (event) => {
    event.preventDefault();
    go({ ...at, with: new FormData(event.target).get("with").trim() }, { replace: true });
  };
  return html`
    <form class="compare-with" onSubmit=${choose}>
      <label for="with">Compare with</label>
      <input id="with" name="with" value=${other || found.timeline?.request.stream || ""} placeholder="st_…" spellcheck=${false} autocomplete="off" />
      <button>Compare</button>
    </form>
    ${found.problem && html`<p class="problem" role="alert">${shown(found.problem)}</p>`}
    ${found.timeline && html`<${Both} one=${timeline} two=${found.timeline} at=${at} />`}`;
}

function Both({ one, two, at }) {
  const end = Math.max(one.ending.at_us, two.ending.at_us);
  const on = scale(end);
  const first = totals(one.phases);
  const second = totals(two.phases);
  const states = [...new Set([...first.keys(), ...second.keys()])];
  const most = Math.max(1, ...first.values(), ...second.values());
  const gap = (timeline) => timeline.gaps.reduce((found, each) => Math.max(found, each.end_us - each.start_us), 0);
  const usage = (timeline) => timeline.received.usage;
  const tokens = (name) => [usage(one)?.[name], usage(two)?.[name]].map((value) => value ?? "–");
  const facts = [
    ["Ending", ...[one, two].map(({ ending }) => `${ending.kind}${ending.code ? ` · ${ending.code}` : ""}`)],
    ["Status", ...[one, two].map(({ received }) => received.status ?? "–")],
    ["Opened", ...[one, two].map(({ request }) => `${day(request.opened_us)} ${clock(request.opened_us)}`)],
    ["TTFT", ...[one, two].map(({ received }) => span(received.first_us)), [one.received.first_us, two.received.first_us]],
    ["Duration", ...[one, two].map(({ ending }) => span(ending.at_us)), [one.ending.at_us, two.ending.at_us]],
    ["Longest silence", span(gap(one)), span(gap(two)), [gap(one), gap(two)]],
    ["Attempts", ...[one, two].map(({ attempts }) => attempts.filter(({ number }) => number).length)],
    ["Frames", one.received.frames, two.received.frames, [one.received.frames, two.received.frames, "count"]],
    ["Characters", one.received.characters, two.received.characters, [one.received.characters, two.received.characters, "count"]],
    ["Tool calls", one.calls.length, two.calls.length],
    ["Tokens out", ...tokens("completion_tokens")],
  ];
  return html`
    <div class="compare-bands">
      ${[one, two].map((timeline) => html`
        <div class="compare-band">
          <a href=${url({ ...at, stream: timeline.request.stream, with: "", tab: "", seq: "", t: "" })}>${shown(timeline.request.stream)}</a>
          <div class="lane-track lane-machine">
            ${timeline.phases.map((phase, number) => html`
              <div key=${number} class=${`band state-${phase.state}`} title=${`${phase.state}: ${span(phase.end_us - phase.start_us)}`}
                style=${{ left: `${on.at(phase.start_us) * 100}%`, width: `${(on.at(phase.end_us) - on.at(phase.start_us)) * 100}%` }}>
                ${on.at(phase.end_us) - on.at(phase.start_us) > 0.09 && html`<span>${phase.state.replaceAll("_", " ")}</span>`}
              </div>`)}
          </div>
          <p>${shown(timeline.verdict)}</p>
        </div>`)}
    </div>
    <div class="compare-tables">
      <table>
        <caption>By phase</caption>
        <thead><tr><th scope="col">State</th><th scope="col">This</th><th scope="col">Other</th><th scope="col">Difference</th></tr></thead>
        <tbody>
          ${states.map((state) => html`
            <tr key=${state}>
              <th scope="row"><i class=${`swatch state-${state}`} aria-hidden="true"></i>${state}</th>
              ${[first, second].map((totals) => html`<td>${totals.has(state) ? span(totals.get(state)) : "–"}
                <i class=${`bar-under state-${state}`} aria-hidden="true" style=${{ width: `${((totals.get(state) ?? 0) / most) * 100}%` }}></i></td>`)}
              <td>${first.has(state) && second.has(state) ? difference([first.get(state), second.get(state)]) : first.has(state) ? "only this" : "only the other"}</td>
            </tr>`)}
        </tbody>
      </table>
      <table>
        <caption>As a whole</caption>
        <thead><tr><th scope="col"><span class="visually-hidden">What</span></th><th scope="col">This</th><th scope="col">Other</th><th scope="col">Difference</th></tr></thead>
        <tbody>
          ${facts.map(([name, mine, theirs, both]) => html`
            <tr key=${name} class=${String(mine) === String(theirs) ? "" : "differs"}><th scope="row">${name}</th><td>${shown(mine)}</td><td>${shown(theirs)}</td><td>${both ? difference(both) : ""}</td></tr>`)}
        </tbody>
      </table>
    </div>`;
}

function difference([one, two, kind]) {
  if (typeof one !== "number" || typeof two !== "number" || one === two) return "";
  const sign = one > two ? "+" : "−";
  const size = Math.abs(one - two);
  return `${sign} ${kind === "count" ? counted(size, "").trim() : span(size)}`;
}
