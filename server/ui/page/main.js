// The page: which view is open, and the keys that work everywhere.

import { html, render, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { Detail } from "./detail.js";
import { List } from "./list.js";
import { go, usePlace } from "./route.js";
import { source } from "./source.js";

const KEYS = [
  ["j / k", "next or previous stream"],
  ["Enter", "open the stream"],
  ["Esc", "back to the list; in the filter: leave it"],
  ["/", "to the filter"],
  ["Space", "play or pause the answer"],
  ["← →", "on the slider: a frame back or on; with Shift a twentieth"],
  ["1 … 6", "the tabs of a stream"],
  ["?", "these keys"],
];

const TABS = ["answer", "request", "bytes", "records", "path", "compare"];

function App() {
  const log = useMemo(source, []);
  const at = usePlace();
  const list = useRef({ rows: [], last: "" }).current;
  const player = useRef({}).current;
  const [help, setHelp] = useState(false);
  useEffect(() => {
    if (!at.stream) document.title = "Turntape";
    else list.last = at.stream;
  }, [at.stream]);
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (help) return;
      const act = action(event, { at, list, player, setHelp });
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });
  return html`
    <header class="top">
      <a class="brand" href="#/"><svg viewBox="0 0 16 16" aria-hidden="true"><rect x="1" y="2" width="14" height="3" rx="1.5" /><rect x="3" y="6.5" width="9" height="3" rx="1.5" /><rect x="6" y="11" width="9" height="3" rx="1.5" /></svg>Turntape</a>
      ${!log.live && html`<span class="tag">${log.content === "full" ? "with contents" : "masked"}</span>`}
      <button class="quiet" onClick=${() => setHelp(true)}>Keys <kbd>?</kbd></button>
    </header>
    ${at.stream
      ? html`<${Detail} log=${log} at=${at} player=${player} />`
      : html`<${List} log=${log} at=${at} list=${list} />`}
    ${help && html`<${Help} close=${() => setHelp(false)} />`}`;
}

/** What a key does here; nothing where somebody types. */
function action(event, { at, list, player, setHelp }) {
  const { key, target } = event;
  const types = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "range" && target.type !== "checkbox";
  if (types) return key === "Escape" ? () => target.blur() : null;
  if (key === "?") return () => setHelp(true);
  if (key === "/" && !at.stream) return () => document.getElementById("filter")?.focus();
  const step = { j: 1, k: -1 }[key];
  if (!at.stream) {
    if (step) return () => list.move(step);
    const pressed = target.closest?.("button, a, summary");
    return key === "Enter" && !pressed ? () => list.enter() : null;
  }
  if (key === "Escape") return () => go({ q: at.q, from: at.from, to: at.to, stream: "" });
  if (step) return () => beside(at, list, step);
  if (key === " " && !target.closest?.("button, a, select, input[type=checkbox]")) return () => player.toggle?.();
  const tab = TABS[Number(key) - 1];
  return tab ? () => go({ ...at, tab }, { replace: true }) : null;
}

/** Open the stream before or after this one, as the list had them. */
function beside(at, list, step) {
  const next = list.rows[list.rows.findIndex((row) => row.summary === at.stream) + step];
  if (next) go({ ...at, stream: next.summary, seq: "", with: "", t: "" }, { replace: true });
}

function Help({ close }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`
    <dialog ref=${dialog} class="help" onClose=${close} aria-labelledby="help-title" onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
      <h2 id="help-title">Keys</h2>
      <dl>${KEYS.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
      <button autofocus onClick=${() => dialog.current.close()}>Close</button>
    </dialog>`;
}

render(html`<${App} />`, document.getElementById("app"));
