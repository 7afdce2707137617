// One stream: the verdict, its lanes, what the client saw, and what is on file.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { Answer } from "./answer.js";
import { Compare } from "./compare.js";
import { clock, count, counted, day, ending, shown, span } from "./format.js";
import { Bytes, Records, Request } from "./inspect.js";
import { Lanes, Scrubber } from "./lanes.js";
import { Path } from "./path.js";
import { go, url } from "./route.js";
import { scale } from "./scale.js";

const TABS = ["answer", "request", "bytes", "records", "path", "compare"];
const TITLES = { answer: "Answer", request: "Request", bytes: "Bytes", records: "Records", path: "State path", compare: "Compare" };

const NO_PHASES = ["rejected"];

const AGAIN_MS = 2000;
// How often a stream that has not ended is looked at.

/** Loads a stream; again while it has no end, and where another is asked for. */
function useStream(log, id) {
  const [found, set] = useState({ id: "" });
  const wanted = useRef(id);
  wanted.current = id;
  const load = async () => {
    try {
      const [timeline, records, seen, machine] = await Promise.all([log.timeline(id), log.records(id), log.seen(id), log.machine()]);
      const loaded = { id, timeline, records, seen, machine };
      if (wanted.current === id) set((old) => (grown(old, loaded) ? loaded : old));
    } catch (error) {
      if (wanted.current === id) set((old) => ({ ...(old.id === id ? old : { id }), problem: error.message }));
    }
  };
  useEffect(() => void load(), [log, id]);
  const isOpen = found.id === id && found.timeline?.ending.kind === "open";
  useEffect(() => {
    if (!log.live || !isOpen) return undefined;
    const look = () => !document.hidden && load();
    const timer = setInterval(look, AGAIN_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [log, id, isOpen]);
  // What was found of another stream stands below that one's title alone.
  return found.id === id ? found : { id };
}

/** Whether there is anything to draw anew. */
function grown(old, loaded) {
  return old.id !== loaded.id || Boolean(old.problem) || old.records.length !== loaded.records.length;
}

/** The whole view. */
export function Detail({ log, at, player }) {
  const found = useStream(log, at.stream);
  const title = useRef(null);
  useEffect(() => {
    document.title = `${at.stream} · Turntape`;
    title.current?.focus({ preventScroll: true });
  }, [at.stream]);
  const back = url({ q: at.q, from: at.from, to: at.to, stream: "" });
  return html`
    <main class="detail">
      <p class="crumbs"><a href=${back}>Streams</a><span aria-hidden="true"> / </span>
        <h1 ref=${title} tabindex="-1">${shown(at.stream)}</h1></p>
      ${found.problem && html`<p class="problem" role="alert">${shown(found.problem)}</p>`}
      ${found.timeline && html`<${Stream} key=${found.id} log=${log} at=${at} player=${player} ...${found} />`}
      ${!found.timeline && !found.problem && html`<p class="quiet-text" role="status">Reading…</p>`}
    </main>`;
}

const TOLD_MS = 200;
// How long a moment must last before it stands in the URL: browsers refuse one for every frame.

/**
 * A moment that plays: it moves by the clock, times the speed. `asked` is the one of the URL, and
 * `tell` puts another there.
 */
function usePlayer(end, asked, tell) {
  const [now, setNow] = useState(asked);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(1);
  const told = useRef(asked);
  const latest = useRef(tell);
  latest.current = tell;
  useEffect(() => {
    if (asked !== told.current && !playing) setNow(asked);
    told.current = asked;
  }, [asked]);
  useEffect(() => {
    const rested = now >= end ? end : Math.round(now);
    if (playing || rested === told.current) return undefined;
    const timer = setTimeout(() => {
      told.current = rested;
      latest.current(rested);
    }, TOLD_MS);
    return () => clearTimeout(timer);
  }, [now, playing]);
  useEffect(() => {
    if (!playing) return undefined;
    let frame;
    let before = performance.now();
    const tick = (time) => {
      const passed = (time - before) * 1000 * speed;
      before = time;
      setNow((us) => {
        if (us + passed >= end) setPlaying(false);
        return Math.min(end, us + passed);
      });
      frame = requestAnimationFrame(tick);
    };
    frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }, [playing, speed, end]);
  const toggle = () => {
    if (!playing && now >= end) setNow(0);
    setPlaying(!playing);
  };
  const seek = (us) => {
    setPlaying(false);
    setNow(us);
  };
  return { now, seek, playing, toggle, speed, setSpeed };
}

function Stream({ log, at, player, timeline, records, seen, machine }) {
  const { request, received } = timeline;
  const end = timeline.ending.at_us;
  const fold = at.fold === "1";
  const on = useMemo(() => scale(end, timeline.gaps, fold), [timeline, fold]);
  const frames = seen.frames ?? [];
  const tab = TABS.includes(at.tab) ? at.tab : "answer";
  const seq = at.seq === undefined ? null : Number(at.seq);
  const change = (to) => go({ ...at, ...to }, { replace: true });
  const asked = /^\d+$/.test(at.t ?? "") ? Math.min(end, Number(at.t)) : end;
  const play = usePlayer(end, asked, (us) => change({ t: us >= end ? "" : us }));
  player.toggle = play.toggle;
  const pick = (number) => change({ tab: tab === "bytes" ? "bytes" : "records", seq: number });
  const whole = !NO_PHASES.includes(timeline.ending.kind);
  return html`
    <${Verdict} timeline=${timeline} />
    ${whole && html`
      <section class="card" aria-label="Timeline">
        <${Lanes} timeline=${timeline} frames=${frames} on=${on} now=${play.now} seq=${seq} pick=${pick} />
        <${Scrubber} frames=${frames} on=${on} ...${play}>
          ${(fold || scale(end, timeline.gaps, true).folded.length > 0) && html`
            <label class="fold"><input type="checkbox" checked=${fold} onChange=${() => change({ fold: fold ? "" : "1" })} /> Fold long silences</label>`}
        <//>
      </section>`}
    <${Tabs} tab=${tab} change=${(name) => change({ tab: name })}>
      ${tab === "answer" && html`<${Answer} seen=${seen} now=${play.now} ending=${timeline.ending} masked=${request.content === "masked"} refusal=${records[0]?.event === "request_rejected" ? records[0] : null} />`}
      ${tab === "request" && html`<${Request} request=${request} />`}
      ${tab === "bytes" && html`<${Bytes} seen=${seen} received=${received} seq=${seq} pick=${(number) => change({ seq: number })} />`}
      ${tab === "records" && html`<${Records} records=${records} start=${request.opened_us} seq=${seq} pick=${(number) => change({ seq: number })} />`}
      ${tab === "path" && html`<${Path} machine=${machine} phases=${timeline.phases} />`}
      ${tab === "compare" && html`<${Compare} log=${log} timeline=${timeline} other=${at.with} at=${at} />`}
    <//>`;
}

function Verdict({ timeline }) {
  const { request, received, attempts, calls, problems } = timeline;
  const { word, tone } = ending({ kind: timeline.ending.kind });
  const longest = timeline.gaps[0];
  const facts = [
    [timeline.ending.kind === "open" ? "Newest record" : "Ended", `${day(request.opened_us)} ${clock(request.opened_us + timeline.ending.at_us, true)}`],
    ["Model", request.model && request.target && request.model !== request.target ? `${request.model} → ${request.target}` : request.model],
    ["TTFT", received.first_us === null || received.first_us === undefined ? "" : span(received.first_us)],
    ["Duration", span(timeline.ending.at_us)],
    ["Longest silence", longest ? `${span(longest.end_us - longest.start_us)}, ${longest.owner}` : ""],
    ["Frames", received.frames ? `${count(received.frames)}, ${count(received.body_bytes)} B` : ""],
    ["Attempts", attempts.length > 1 ? attempts.filter(({ number }) => number).length : ""],
    ["Worker", attempts.at(-1)?.process || request.worker],
    ["Key", request.key],
  ].filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return html`
    <section class=${`verdict tone-${tone}`} aria-label="Verdict">
      <p class="verdict-kind"><i class="dot" aria-hidden="true"></i>${word}
        ${timeline.ending.code && html`<code>${shown(timeline.ending.code)}</code>`}
        ${received.status !== null && html`<span class="tag">${received.status}</span>`}
        ${timeline.ending.party !== "nobody" && html`<span class="tag">${timeline.ending.party}</span>`}
      </p>
      <p class="verdict-text">${shown(timeline.verdict)}</p>
      ${timeline.next_step && html`<p class="next-step">${shown(timeline.next_step)}</p>`}
      <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${shown(value)}</dd></div>`)}</dl>
      ${attempts.length > 1 && html`
        <ol class="attempts">${attempts.map((each) => html`
          <li>${each.how} attempt${each.process ? ` in ${shown(each.process)}` : ""}: ${shown(each.target || each.worker)}, ${span(each.end_us - each.start_us)}${each.code ? html`: <code>${shown(each.code)}</code> ${shown(each.detail ?? "")}` : ""}</li>`)}</ol>`}
      ${calls.length > 0 && html`
        <ul class="calls">${calls.map((each) => html`
          <li><code>${shown(each.name)}</code> ${counted(each.size, "byte")}${each.parses === false ? " that are no JSON object" : ""}${each.parses === null ? " (masked)" : ""}, ${each.fate}</li>`)}</ul>`}
      ${problems.map((problem) => html`<p class="problem">${shown(problem)}</p>`)}
    </section>`;
}

function Tabs({ tab, change, children }) {
  const keys = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -TABS.length, End: TABS.length }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const next = Math.abs(by) === TABS.length ? (by < 0 ? 0 : TABS.length - 1) : (TABS.indexOf(tab) + by + TABS.length) % TABS.length;
    change(TABS[next]);
    document.getElementById(`tab-${TABS[next]}`)?.focus();
  };
  return html`
    <section class="card tabs">
      <div role="tablist" aria-label="Of this stream" onKeyDown=${keys}>
        ${TABS.map((name) => html`
          <button key=${name} role="tab" id=${`tab-${name}`} aria-selected=${name === tab ? "true" : "false"} aria-controls="panel"
            tabindex=${name === tab ? 0 : -1} onClick=${() => change(name)}>${TITLES[name]}</button>`)}
      </div>
      <div id="panel" class=${`panel panel-${tab}`} role="tabpanel" aria-labelledby=${`tab-${tab}`}>${children}</div>
    </section>`;
}
