// Times, sizes and texts of a log as people read them.

const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/gu;
// Control and format characters, marks that turn the reading direction, halves of pairs: nothing
// that is drawn in its place.

/** A text that somebody else wrote, in one line: what would not be drawn is an escape. */
export function shown(text) {
  return lines(text).replace(/\n/g, "\\n");
}

/** The same of a text whose line ends are its own. */
export function lines(text) {
  return String(text ?? "").replace(UNSEEN, (found) => {
    const code = found.codePointAt(0);
    if (code === 9) return "\t";
    return code < 256 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`;
  });
}

function hex(code, digits) {
  return code.toString(16).padStart(digits, "0");
}

/** A length of time: three digits that matter, in the unit that fits. */
export function span(us) {
  if (us === null || us === undefined) return "–";
  const size = Math.abs(us);
  if (size < 1000) return `${Math.round(us)} µs`;
  if (size < 999_500) return `${digits(us / 1000)} ms`;
  if (size < 59_950_000) return `${digits(us / 1e6)} s`;
  const minutes = Math.round(us / 1e6);
  if (Math.abs(minutes) < 3600) return `${Math.trunc(minutes / 60)} m ${pad(Math.abs(minutes % 60))} s`;
  return `${Math.trunc(minutes / 3600)} h ${pad(Math.trunc(Math.abs(minutes % 3600) / 60))} m`;
}

function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

function pad(number, width = 2) {
  return String(number).padStart(width, "0");
}

/** The time of day, local. */
export function clock(us, milliseconds = false) {
  const at = new Date(us / 1000);
  const text = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  return milliseconds ? `${text}.${pad(at.getMilliseconds(), 3)}` : text;
}

/** The day, local. */
export function day(us) {
  const at = new Date(us / 1000);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** A moment as options take it. */
export function moment(us) {
  return `${day(us)}T${clock(us, true)}`;
}

/** A number with thousands apart. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A number and its noun. */
export function counted(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

const GOOD = new Set(["completed", "open", "process"]);

/** Whether a stream did not end as it should, whoever's doing that was: as `is:failed` has it. */
export function failed(row) {
  return !GOOD.has(row.kind ?? "rejected");
}

/** A word for how a stream ended, and which of three colours it has. */
export function ending(row) {
  if (row.purged) {
    const { word, tone } = ending({ ...row, purged: 0 });
    return { word: `purged, ${word}`, tone };
  }
  const kind = row.kind ?? "rejected";
  if (kind === "completed") return { word: "completed", tone: "good" };
  if (kind === "open") return { word: "open", tone: "open" };
  if (kind === "rejected") return { word: "refused", tone: "bad" };
  return { word: kind.replaceAll("_", " "), tone: kind.startsWith("client") || kind === "abandoned" ? "left" : "bad" };
}
