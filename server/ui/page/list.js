// The list of streams: a filter, when they were, what there is of them, and a row for each.

import { Component, html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { clock, count, counted, day, ending, failed, shown, span } from "./format.js";
import { Facets } from "./facets.js";
import { has, toggled } from "./filters.js";
import { go, url } from "./route.js";
import { useRows } from "./rows.js";
import { Strip } from "./strip.js";
import { Virtual } from "./virtual.js";

const TALL = 60;
const LOW = 40;
const AT_ONCE = 6;
// Heights of a row, in pixels at the usual size of text; sparks that are asked for at once.

/** What the list remembers while a stream is open. */
const memory = { top: 0 };

/** The row heights of this window, in pixels. */
function useHeight() {
  const narrow = useMemo(() => matchMedia("(max-width: 56rem)"), []);
  const [is, set] = useState(narrow.matches);
  useEffect(() => {
    const changed = () => set(narrow.matches);
    narrow.addEventListener("change", changed);
    return () => narrow.removeEventListener("change", changed);
  }, []);
  const em = useMemo(() => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16, []);
  return (is ? TALL : LOW) * em;
}

/**
 * The sparks of the rows in sight, asked for once each and few at a time: who filters meanwhile does
 * not wait for those of rows that are out of sight by then.
 */
function useSparks(log) {
  const known = useRef(new Map()).current;
  const wanted = useRef({ ids: [], asking: false }).current;
  const [, redraw] = useState(0);
  const ask = async (rows) => {
    wanted.ids = rows.filter((row) => row.trigger && !row.purged && !known.has(row.summary)).map((row) => row.summary);
    if (wanted.asking) return;
    wanted.asking = true;
    while (wanted.ids.length) {
      const ids = wanted.ids.splice(0, AT_ONCE);
      ids.forEach((id) => known.set(id, null));
      try {
        for (const [id, spark] of Object.entries(await log.sparks(ids))) known.set(id, spark);
      } catch {
        wanted.ids = []; // the list says what is wrong with the server
      }
      redraw((number) => number + 1);
    }
    wanted.asking = false;
  };
  return [known, ask];
}

/** The whole view. `at` is the place, `list` is told the rows for those who step through them. */
export function List({ log, at, list }) {
  const [live, setLive] = useState(log.live);
  const query = at.q ?? "";
  const { rows, newest, more, state, problem } = useRows(log, query, live);
  const chosen = useMemo(() => (at.from ? [Number(at.from), Number(at.to)] : null), [at.from, at.to]);
  const within = useMemo(
    () => (chosen ? rows.filter((row) => row.t >= chosen[0] && row.t < chosen[1]) : rows),
    [rows, chosen],
  );
  const wrong = useMemo(() => within.filter(failed).length, [within]);
  const slowest = useMemo(() => within.reduce((most, row) => Math.max(most, row.duration_us ?? 0), 1), [within]);
  list.rows = within;
  const change = (to) => go({ ...at, stream: "", ...to }, { replace: true });
  const choose = (to) => change({ from: to?.[0], to: to?.[1] });
  return html`
    <div class="list">
      <${Filter} query=${query} change=${(q) => change({ q })} problem=${problem} live=${live} setLive=${log.live && setLive} />
      <${Strip} rows=${rows} chosen=${chosen} choose=${choose} />
      <div class="list-body">
        <details class="facets-box" open=${matchMedia("(min-width: 56.01rem)").matches}>
          <summary>Narrow</summary>
          <${Facets} rows=${within} query=${query} chosen=${chosen} choose=${choose}
            toggle=${(option, value) => change({ q: toggled(query, option, value) })} />
        </details>
        <main class="streams" aria-busy=${state === "loading" ? "true" : "false"}>
          <h1 class="visually-hidden">Streams</h1>
          <p class="tally" role="status">
            <b>${counted(within.length, "stream")}</b>
            ${wrong > 0 && html`<span class="tone-bad"> · ${count(wrong)} failed</span>`}
            ${more && html`<span> · the newest of ${count(newest)}${state === "ready" ? ": narrow the filter to see others" : ""}</span>`}
            ${chosen && html`<span> · ${day(chosen[0])} ${clock(chosen[0])} – ${clock(chosen[1])} <button class="quiet" onClick=${() => choose(null)}>all times</button></span>`}
          </p>
          ${within.length === 0 && state === "ready" && html`<${Nothing} query=${query} newest=${newest} change=${change} chosen=${chosen} />`}
          <${Rows} log=${log} rows=${within} slowest=${slowest} at=${at} list=${list} />
        </main>
      </div>
    </div>`;
}

function Nothing({ query, newest, change, chosen }) {
  return html`
    <div class="nothing">
      <p>${newest === 0 ? "The log has no streams yet." : "No stream is like that."}</p>
      ${(query || chosen) && html`<button onClick=${() => change({ q: "", from: "", to: "" })}>Show all ${count(newest)}</button>`}
    </div>`;
}

function Filter({ query, change, problem, live, setLive }) {
  const [text, setText] = useState(query);
  const typed = useRef(null);
  useEffect(() => {
    if (document.activeElement?.id !== "filter") setText(query);
  }, [query]);
  const input = (event) => {
    const { value } = event.target;
    setText(value);
    clearTimeout(typed.current);
    typed.current = setTimeout(() => change(value), 150);
  };
  const only = has(query, "is", "failed");
  return html`
    <form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label class="visually-hidden" for="filter">Filter</label>
      <input id="filter" type="text" value=${text} onInput=${input} autocomplete="off" spellcheck=${false}
        placeholder="is:failed model:gpt-5.5 slow:2s req_…" aria-describedby="filter-problem" aria-invalid=${problem ? "true" : "false"} />
      <button type="button" class="toggle" aria-pressed=${only ? "true" : "false"}
        onClick=${() => {
          const next = toggled(query, "is", "failed");
          setText(next);
          change(next);
        }}>Failed</button>
      ${setLive && html`
        <button type="button" class="toggle live" aria-pressed=${live ? "true" : "false"} onClick=${() => setLive(!live)}>
          <span class="dot" aria-hidden="true"></span>Live
        </button>`}
      <p id="filter-problem" class="problem" role="alert">${problem ? shown(problem) : ""}</p>
    </form>`;
}

function Rows({ log, rows, slowest, at, list }) {
  const height = useHeight();
  const [sparks, ask] = useSparks(log);
  const [cursor, setCursor] = useState(() => rows.findIndex((row) => row.summary === list.last));
  list.move = (step) => {
    const next = Math.min(rows.length - 1, Math.max(0, cursor + step));
    setCursor(next);
    list.last = rows[next]?.summary;
    // Or Enter would press the button that was the last to have the focus.
    document.querySelector(".streams .virtual")?.focus({ preventScroll: true });
  };
  list.enter = () => cursor >= 0 && rows[cursor] && go({ ...at, stream: rows[cursor].summary });
  useEffect(() => {
    setCursor(rows.findIndex((row) => row.summary === list.last));
  }, [rows]);
  useEffect(() => {
    // Who comes back from a stream goes on where they were.
    if (list.last) document.querySelector(".streams .virtual")?.focus({ preventScroll: true });
  }, []);
  const range = useRef([0, 40]);
  const look = (first, end) => {
    range.current = [first, end];
    ask(rows.slice(first, end));
  };
  useEffect(() => {
    ask(rows.slice(...range.current));
  }, [rows]);
  return html`
    <div class="table" role="table" aria-label="Streams" aria-rowcount=${rows.length + 1}>
      <div class="table-head" role="rowgroup">
        <div class="row" role="row" aria-rowindex="1">
          ${["Ended", "Ending", "Status", "Code", "Model", "TTFT", "Duration", "Gaps", "Stream"].map((title) => html`<span role="columnheader">${title}</span>`)}
        </div>
      </div>
      <${Virtual} items=${rows} height=${height} role="rowgroup" label="Streams, newest first" at=${cursor}
        start=${memory.top} onLeave=${(top) => (memory.top = top)} onRange=${look}
        row=${(row, index) => html`
          <${Row} row=${row} index=${index} spark=${sparks.get(row.summary)} is=${index === cursor} slowest=${slowest} at=${at} />`} />
    </div>`;
}

class Row extends Component {
  shouldComponentUpdate(next) {
    return ["row", "index", "spark", "is", "slowest", "at"].some((name) => next[name] !== this.props[name]);
  }

  render({ row, index, spark, is, slowest, at }) {
    const { word, tone } = ending(row);
    const place = { ...at, stream: row.summary };
    const open = (event) => {
      if (!event.defaultPrevented && !getSelection().toString()) go(place);
    };
    const share = Math.min(1, (row.duration_us ?? 0) / slowest);
    return html`
      <div class=${`row tone-${tone}`} role="row" aria-rowindex=${index + 2} aria-current=${is ? "true" : undefined} onClick=${open}>
        <span role="cell" class="cell-time" title=${day(row.t)}>${clock(row.t, true)}</span>
        <span role="cell" class="cell-end"><i class="dot" aria-hidden="true"></i>${word}</span>
        <span role="cell" class="cell-status">${row.status || "–"}</span>
        <span role="cell" class=${row.code ? "cell-code mono" : "cell-code cell-reason"}>${row.code ? shown(row.code) : row.finish_reasons?.filter(Boolean).join(", ") || "–"}</span>
        <span role="cell" class="cell-model">${shown(row.model || row.route || "–")}</span>
        <span role="cell" class="cell-ttft">${span(row.ttft_us)}</span>
        <span role="cell" class="cell-duration"><i class="duration" aria-hidden="true" style=${{ width: `${Math.sqrt(share) * 100}%` }}></i>${span(row.duration_us)}</span>
        <span role="cell" class="cell-gaps">${spark ? html`<${Spark} spark=${spark} />` : ""}<span class="gap">${row.longest_gap_us ? span(row.longest_gap_us) : ""}</span>${row.purged ? html`<span class="tag">erased</span>` : ""}</span>
        <span role="cell" class="cell-id"><a href=${url(place)} tabindex=${is ? 0 : -1} onClick=${(event) => { event.preventDefault(); go(place); }}>${shown(row.summary)}</a></span>
      </div>`;
  }
}

/** The silences of a stream from its beginning to its end, as a small outline. */
export function Spark({ spark }) {
  const most = Math.max(1, ...spark);
  const path = `M0 16${spark.map((gap, at) => `V${(15.2 - Math.sqrt(gap / most) * 14.2).toFixed(1)}H${at + 1}`).join("")}V16z`;
  return html`<svg class="spark" viewBox=${`0 0 ${spark.length} 16`} preserveAspectRatio="none" aria-hidden="true"><path d=${path} /></svg>`;
}
