// The rows of the list: loaded page by page, kept up to date while the page is live.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";

const PAGE = 2000;
const MOST = 50_000;
// Rows that are loaded: about 50 MB of memory. Beyond them the filter narrows.

const POLL_MS = 2000;
const POLLED = 200;

const NONE = { rows: [], newest: 0, more: false, state: "loading", problem: "" };

/** Newer rows before those that are known: one of the same stream takes the older one's place. */
export function merged(known, newer) {
  const before = new Map(known.slice(0, newer.length + POLLED).map((row) => [row.summary, row]));
  const fresh = newer.filter((row) => {
    const old = before.get(row.summary);
    return !old || old.t !== row.t || old.kind !== row.kind;
  });
  if (!fresh.length) return known;
  const ids = new Set(fresh.map((row) => row.summary));
  return [...fresh, ...known.filter((row) => !ids.has(row.summary))].sort((a, b) => b.t - a.t);
}

/** The rows that a filter lets through, and what is wrong with it. */
export function useRows(log, query, live) {
  const [found, set] = useState(NONE);
  const current = useRef(0);
  useEffect(() => {
    const mine = ++current.current;
    const still = () => mine === current.current;
    const load = async () => {
      let rows = [];
      let before = "";
      set((old) => ({ ...old, state: "loading" }));
      try {
        do {
          const page = await log.rows(query, before, PAGE);
          if (!still()) return;
          rows = rows.concat(page.rows);
          before = page.before;
          const more = Boolean(before);
          set({ rows, newest: page.newest, more, state: more && rows.length < MOST ? "loading" : "ready", problem: "" });
          await new Promise(requestAnimationFrame);
        } while (still() && before && rows.length < MOST);
      } catch (error) {
        if (still()) set((old) => ({ ...old, state: "ready", problem: error.message }));
      }
    };
    const timer = setTimeout(load, current.current > 1 ? 150 : 0);
    return () => clearTimeout(timer);
  }, [log, query]);
  const wasLive = useRef(live);
  useEffect(() => {
    const isBack = live && !wasLive.current;
    wasLive.current = live;
    if (!live || !log.live) return undefined;
    let asked = false;
    const look = async () => {
      if (asked || document.hidden) return;
      asked = true;
      const mine = current.current;
      try {
        const page = await log.rows(query, "", POLLED);
        if (mine === current.current) {
          set((old) => {
            if (old.state !== "ready") return old;
            const rows = merged(old.rows, page.rows);
            return rows === old.rows && !old.problem ? old : { ...old, rows, newest: page.newest, problem: "" };
          });
        }
      } catch (error) {
        if (mine === current.current) set((old) => ({ ...old, problem: error.message }));
      }
      asked = false;
    };
    // Who comes back to the page, or switches this on again, does not wait for the next time.
    if (isBack) look();
    document.addEventListener("visibilitychange", look);
    const timer = setInterval(look, POLL_MS);
    return () => {
      document.removeEventListener("visibilitychange", look);
      clearInterval(timer);
    };
  }, [log, query, live]);
  return found;
}
