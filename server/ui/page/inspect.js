// Lists of a stream's records and of its bytes, and one of them in full.

import { html, useEffect, useMemo, useState } from "./vendor/preact-htm.js";
import { count, counted, lines, shown, span } from "./format.js";
import { Virtual } from "./virtual.js";

const LOW = 30;
const OWN = new Set(["stream", "seq", "seg", "t", "event", "state", "out", "states", "crc"]);

function usePick(seq, items) {
  const at = items.findIndex((item) => item.seq === seq || (item.seq <= seq && item.last >= seq));
  return at < 0 ? 0 : at;
}

function Pane({ label, items, at, pick, row, full }) {
  const height = LOW * (parseFloat(getComputedStyle(document.documentElement).fontSize) / 16);
  const id = (index) => `${label.toLowerCase()}-${index}`;
  const keys = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -items.length, End: items.length }[event.key];
    if (!by || !items.length) return;
    event.preventDefault();
    pick(Math.min(items.length - 1, Math.max(0, at + by)));
  };
  return html`
    <div class="inspect">
      <${Virtual} items=${items} height=${height} role="listbox" label=${label} at=${at} active=${items.length ? id(at) : undefined} onKeyDown=${keys}
        row=${(item, index) => html`
          <div class="line" role="option" id=${id(index)} aria-selected=${index === at ? "true" : "false"} onClick=${() => pick(index)}>${row(item)}</div>`} />
      <div class="inspect-full" tabindex="0" role="region" aria-label=${`${label}: the chosen one`}>${items[at] && full(items[at])}</div>
    </div>`;
}

/** Every record, as it is on file. */
export function Records({ records, start, seq, pick }) {
  const items = useMemo(() => records.map((record) => ({ key: record.seq, seq: record.seq, last: record.seq, record })), [records]);
  const at = usePick(seq, items);
  return html`
    <${Pane} label="Records" items=${items} at=${at} pick=${(index) => pick(items[index].seq)}
      row=${({ record }) => html`
        <span class="line-seq">${record.seq}</span><span class="line-time">${span(record.t - start)}</span>
        <b>${shown(record.event)}</b><span class="line-what">${shown(brief(record))}</span>
        <span class="line-out">${shown((record.states ?? [record.state]).join(" › "))}${record.out?.length ? ` → ${shown(record.out.join(" "))}` : ""}</span>`}
      full=${({ record }) => html`
        <h2>Record ${record.seq} · ${shown(record.event)}</h2><pre>${lines(JSON.stringify(record, null, 2))}</pre>`} />`;
}

function brief(record) {
  return Object.entries(record)
    .filter(([name, value]) => !OWN.has(name) && (typeof value === "string" || typeof value === "number"))
    .map(([name, value]) => (name === "text" ? value : `${name}=${value}`))
    .join(" ")
    .slice(0, 200);
}

const PROOFS = {
  same: "Made again from the records: the digest of all is the one that was recorded, so these are the bytes that went out.",
  other: "Made again from the records by today's code: their digest is not the recorded one, so other bytes went out.",
  unknown: "Made again from the records; the log has no digest to hold them against.",
  masked: "The log keeps no words, so the bytes cannot be made again. Lengths and times of what went out are below.",
};

/** Every frame that went to the client. */
export function Bytes({ seen, received, seq, pick }) {
  const items = useMemo(() => (seen.frames ?? []).map((frame) => ({ ...frame, key: frame.seq, last: frame.seq })), [seen]);
  const at = usePick(seq, items);
  return html`
    <p class=${`note proof-${seen.proof ?? "unknown"}`}>${PROOFS[seen.proof ?? "unknown"]}
      ${" "}${counted(received.frames, "frame")}, ${counted(received.body_bytes, "byte")} were recorded.</p>
    <${Pane} label="Bytes" items=${items} at=${at} pick=${(index) => pick(items[index].seq)}
      row=${(frame) => html`
        <span class="line-seq">${frame.seq}</span><span class="line-time">${span(frame.at_us)}</span>
        <span class="line-size">${frame.bytes ? `${count(frame.bytes)} B` : ""}</span>
        <span class="line-what">${(frame.pieces ?? []).map((piece) => html`<b>${shown(piece.kind)}</b> ${shown(piece.text ?? "")} `)}</span>`}
      full=${(frame) => html`
        <h2>After record ${frame.seq}, at ${span(frame.at_us)}</h2>
        <pre>${lines(frame.data || JSON.stringify(frame.pieces ?? [], null, 2))}</pre>`} />`;
}

/** What was asked. */
export function Request({ request }) {
  const { body, versions, ...rest } = request;
  const [wide, setWide] = useState(false);
  useEffect(() => setWide(false), [request.stream]);
  const fields = Object.entries({ ...rest, ...versions }).filter(([, value]) => value !== "" && value !== null);
  const text = body === null || body === undefined ? "" : JSON.stringify(body, null, 2);
  const cut = text.length > 20_000 && !wide;
  return html`
    <dl class="fields">
      ${fields.map(([name, value]) => html`<div key=${name}><dt>${shown(name.replaceAll("_", " "))}</dt><dd>${shown(value)}</dd></div>`)}
    </dl>
    <h2>Body</h2>
    ${text ? html`<pre class="body" tabindex="0">${lines(cut ? text.slice(0, 20_000) : text)}</pre>` : html`<p class="quiet-text">The log does not have it.</p>`}
    ${cut && html`<button onClick=${() => setWide(true)}>Show all ${count(text.length)} characters</button>`}`;
}
