// The language of the filter box, as `engine/log/find/query.py` has it: for a page that asks no
// server. Tests hold both to the same rows.

import { failed } from "./format.js";

const US = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6, d: 86400e6 };
const WITHIN_US = 5 * 60e6;
const LENGTH = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)$/;
const CLOCK = /^(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?$/;
const DAY = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?$/;

const kind = (row) => row.kind ?? "rejected";

const IS = {
  failed,
  good: (row) => !failed(row),
  open: (row) => kind(row) === "open",
  refused: (row) => kind(row) === "rejected" && !row.trigger,
  streaming: (row) => (row.streaming ?? true) && Boolean(row.endpoint),
  estimated: (row) => row.usage_source === "estimated",
  purged: (row) => Boolean(row.purged),
};

const low = (text) => (text ?? "").toLowerCase();
const exact = (read) => (row, values) => read(row).some((each) => values.includes(low(each)));
const matching = (read) => (row, values) => read(row).map(low).some((have) =>
  values.some((value) => have === value || (value.endsWith("*") && have.startsWith(value.slice(0, -1)))));
const starting = (read) => (row, values) => read(row).map(low).some((have) => values.some((value) => have.startsWith(value)));

const HOLDS = {
  "": (row, values) => {
    const texts = [row.summary, row.request_id, row.completion_id, row.process, kind(row), row.code, row.model, row.target, row.worker, row.key, row.route];
    return values.some((value) => texts.some((text) => low(text).includes(value)));
  },
  kind: exact((row) => [kind(row)]),
  code: matching((row) => [row.code]),
  status: (row, values) => {
    const status = String(row.status ?? 0);
    return values.some((each) => each === status || each.replace("xx", status.slice(1)) === status);
  },
  model: matching((row) => [row.model, row.target]),
  key: matching((row) => [row.key]),
  worker: (row, values) => matching((each) => [each.worker])(row, values)
    || (Boolean(row.process) && values.some((value) => low(row.process).startsWith(value))),
  endpoint: exact((row) => [row.endpoint, row.route]),
  id: starting((row) => [row.summary, row.request_id, row.completion_id]),
  cause: exact((row) => [row.cause]),
  owner: exact((row) => [row.longest_gap_owner]),
  finish: exact((row) => row.finish_reasons ?? []),
  is: (row, values) => values.some((value) => IS[value](row)),
};

const NUMBERS = ["since", "until", "around", "within", "slow", "gap", "text"];

/** The words of a filter, as [name, value, word]. */
export function terms(text) {
  return (text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []).map((word) => {
    const colon = word.indexOf(":");
    const name = colon < 0 ? "" : word.slice(0, colon);
    if (/^-?[a-z]+$/.test(name)) return [name, word.slice(colon + 1).replaceAll('"', ""), word];
    const bare = word.length > 1 && word.startsWith("-") ? word.slice(1) : word;
    return [bare === word ? "" : "-", bare.replaceAll('"', ""), word];
  });
}

/**
 * The test that a filter is; throws what is wrong with it. `newest` is the time of the newest row,
 * and `texts(row)` all that was said in a stream.
 */
export function parse(text, newest, texts = () => "") {
  const tests = [];
  const numbers = {};
  for (const [name, value, word] of terms(text)) {
    const bare = name.replace(/^-/, "");
    const negated = bare !== name;
    if (Object.hasOwn(HOLDS, bare)) {
      const values = listed(bare, value, word);
      tests.push((row) => HOLDS[bare](row, values) !== negated);
    } else if (negated) {
      throw new Error(`${word}: only a filter by value can be negated`);
    } else if (bare === "text") {
      if (value) tests.push((row) => low(texts(row)).includes(low(value)));
    } else if (["slow", "gap", "within"].includes(bare)) {
      numbers[bare] = length(value, word);
    } else if (["since", "until", "around"].includes(bare)) {
      numbers[bare] = when(value, newest, word);
    } else {
      const known = [...Object.keys(HOLDS), ...NUMBERS].filter(Boolean).sort().join(", ");
      throw new Error(`${word}: there is no filter of that name; there are ${known}`);
    }
  }
  tests.push(...within(numbers));
  return (row) => tests.every((test) => test(row));
}

function listed(name, value, word) {
  const values = value.split(",").map((each) => low(each.trim())).filter(Boolean);
  if (!values.length && name) throw new Error(`${word}: it has no value`);
  const wrong = name === "is" && values.find((each) => !Object.hasOwn(IS, each));
  if (wrong) throw new Error(`${word}: ${wrong} is none of ${Object.keys(IS).join(", ")}`);
  if (name === "status" && !values.every((each) => /^(\d{1,3}|\dxx)$/.test(each))) {
    throw new Error(`${word}: it takes a status such as 502, or 5xx`);
  }
  return values.length ? values : [low(value)];
}

function within({ since, until, around, within: reach, slow, gap }) {
  if (around !== undefined) {
    since = Math.max(since ?? 0, around - (reach ?? WITHIN_US));
    const end = around + (reach ?? WITHIN_US) + 1;
    until = until === undefined ? end : Math.min(until, end);
  } else if (reach !== undefined && since !== undefined && until === undefined) {
    until = since + reach;
  }
  const found = [];
  if (since !== undefined) found.push((row) => row.t >= since);
  if (until !== undefined) found.push((row) => row.t - (row.duration_us ?? 0) < until);
  if (slow !== undefined) found.push((row) => (row.duration_us ?? 0) >= slow);
  if (gap !== undefined) found.push((row) => (row.longest_gap_us ?? 0) >= gap);
  return found;
}

function length(text, word) {
  const match = LENGTH.exec(/^\d+(\.\d*)?$/.test(text) ? `${text}s` : text);
  if (!match) throw new Error(`${word}: it takes a time such as 2s, 300ms or 5m`);
  return Math.round(Number(match[1]) * US[match[2]]);
}

function when(text, newest, word) {
  if (LENGTH.test(text)) return newest - length(text, word);
  if (/^\d{9,}$/.test(text)) return Number(text) * 1e6;
  const clock = CLOCK.exec(text);
  const at = clock ? latest(clock, newest) : DAY.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text.replace(" ", "T")) * 1000 : NaN;
  if (Number.isNaN(at)) throw new Error(`${word}: it takes a time such as 14:05, 2026-01-31T14:05, 2026-01-31 or 10m (ago)`);
  return at;
}

/** The last time of day that is not after the newest row. */
function latest([, hour, minute, second = "0", fraction = ""], newest) {
  if (hour > 23 || minute > 59 || second > 59) return NaN;
  const at = new Date(newest / 1000);
  at.setHours(Number(hour), Number(minute), Number(second), 0);
  if (at.getTime() * 1000 > newest + 60e6) at.setDate(at.getDate() - 1);
  return at.getTime() * 1000 + Number(fraction.padEnd(6, "0"));
}

/** Whether a filter has a term with this value, alone or among others. */
export function has(text, name, value) {
  return terms(text).some(([own, values]) => own === name && values.split(",").includes(value));
}

/** The filter with a value of a name added, or taken out where it is there. */
export function toggled(text, name, value) {
  const was = has(text, name, value);
  let put = was;
  const found = terms(text).map(([own, values, word]) => {
    if (own !== name) return word;
    const kept = values.split(",").filter((each) => each && each !== value);
    if (!put) {
      kept.push(value);
      put = true;
    }
    return kept.length ? written(name, kept.join(",")) : "";
  });
  if (!put) found.push(written(name, value));
  return found.filter(Boolean).join(" ");
}

function written(name, value) {
  return /\s/.test(value) ? `${name}:"${value}"` : `${name}:${value}`;
}
