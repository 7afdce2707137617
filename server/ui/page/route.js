// Where the page is: behind the `#` of its URL, so that a file from a disk has URLs too.

import { useEffect, useState } from "./vendor/preact-htm.js";

/** The present place: `stream` is an id or empty, every other member a parameter. */
export function place() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const found = Object.fromEntries(new URLSearchParams(query));
  const match = /^\/stream\/(.+)$/.exec(path);
  let stream = "";
  try {
    stream = match ? decodeURIComponent(match[1]) : "";
  } catch {
    stream = match[1];
  }
  return { ...found, stream };
}

/** The URL of a place. */
export function url({ stream, ...rest }) {
  const query = new URLSearchParams(Object.entries(rest).filter(([, value]) => value !== "" && value !== undefined && value !== null));
  const path = stream ? `/stream/${encodeURIComponent(stream)}` : "/";
  return `#${path}${query.size ? `?${query}` : ""}`;
}

/** Go to a place; `replace` makes no entry in the history. */
export function go(to, { replace = false } = {}) {
  if (url(to) === location.hash) return;
  if (replace) history.replaceState(null, "", url(to));
  else history.pushState(null, "", url(to));
  dispatchEvent(new Event("hashchange"));
}

/** The present place, for a component. */
export function usePlace() {
  const [at, set] = useState(place);
  useEffect(() => {
    const changed = () => set(place());
    addEventListener("hashchange", changed);
    addEventListener("popstate", changed);
    return () => {
      removeEventListener("hashchange", changed);
      removeEventListener("popstate", changed);
    };
  }, []);
  return at;
}
