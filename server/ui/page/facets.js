// What there is of each code, model, worker and hour among the rows, to narrow the list by.

import { html, useMemo, useState } from "./vendor/preact-htm.js";
import { count, day, failed, shown } from "./format.js";
import { has } from "./filters.js";

const SEEN = 6;
// Values of a facet that are shown before all are asked for.

const HOUR_US = 3600e6;

const FACETS = [
  { option: "code", title: "Code", read: (row) => row.code },
  { option: "model", title: "Model", read: (row) => row.model },
  { option: "worker", title: "Worker", read: (row) => row.worker },
];

/** Counts of the values that rows have, the most frequent first. */
export function counts(rows, read) {
  const found = new Map();
  for (const row of rows) {
    const value = read(row);
    if (!value) continue;
    const known = found.get(value) ?? { value, all: 0, bad: 0 };
    known.all++;
    if (failed(row)) known.bad++;
    found.set(value, known);
  }
  return [...found.values()].sort((a, b) => b.all - a.all);
}

function hours(rows) {
  return counts(rows, (row) => Math.floor(row.t / HOUR_US) * HOUR_US).sort((a, b) => b.value - a.value);
}

/** All facets. `toggle(option, value)` changes the filter, `choose` the span of time. */
export function Facets({ rows, query, chosen, toggle, choose }) {
  const found = useMemo(() => FACETS.map((facet) => ({ ...facet, values: counts(rows, facet.read) })), [rows]);
  const byHour = useMemo(() => hours(rows), [rows]);
  return html`
    <nav class="facets" aria-label="Narrow the list">
      ${found.map(({ option, title, values }) => html`
        <${Facet} title=${title} values=${values} name=${shown}
          on=${(value) => has(query, option, value)} pick=${(value) => toggle(option, value)} />`)}
      <${Facet} title="Hour" values=${byHour} name=${hour}
        on=${(value) => chosen?.[0] === value} pick=${(value) => choose(chosen?.[0] === value ? null : [value, value + HOUR_US])} />
    </nav>`;
}

function hour(us) {
  return `${day(us).slice(5)} ${String(new Date(us / 1000).getHours()).padStart(2, "0")}:00`;
}

function Facet({ title, values, name, on, pick }) {
  const [all, setAll] = useState(false);
  if (!values.length) return null;
  const most = values.reduce((found, each) => Math.max(found, each.all), 1);
  const seen = all ? values : values.slice(0, SEEN);
  return html`
    <section>
      <h2>${title}</h2>
      <ul>
        ${seen.map(({ value, all: number, bad }) => html`
          <li key=${value}>
            <button class="facet" aria-pressed=${on(value) ? "true" : "false"} onClick=${() => pick(value)} title=${name(value)}>
              <span class="facet-name">${name(value)}</span>
              <span class="facet-count">${count(number)}</span>
              <span class="facet-bar" aria-hidden="true" style=${{ width: `${(number / most) * 100}%` }}>
                <i style=${{ width: `${(bad / number) * 100}%` }}></i>
              </span>
            </button>
          </li>`)}
      </ul>
      ${values.length > SEEN && html`
        <button class="quiet" onClick=${() => setAll(!all)}>${all ? "fewer" : `all ${count(values.length)}`}</button>`}
    </section>`;
}
