// Where the page has its log from: its server, or the data within the file.

import { parse } from "./filters.js";

/** Asks the server that the page came from. */
class Server {
  live = true;
  content = "";

  rows(query, before, limit) {
    return ask("/api/streams", { query, before, limit });
  }

  sparks(ids) {
    return ask("/api/sparks", { ids: ids.join(",") });
  }

  timeline(id) {
    return ask(`/api/streams/${encodeURIComponent(id)}`);
  }

  records(id) {
    return ask(`/api/streams/${encodeURIComponent(id)}/records`);
  }

  seen(id) {
    return ask(`/api/streams/${encodeURIComponent(id)}/bytes`);
  }

  machine() {
    return ask("/api/machine");
  }
}

async function ask(path, query = {}) {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  let response;
  try {
    response = await fetch(given.size ? `${path}?${given}` : path);
  } catch {
    throw new Error("The server has gone: start `turntape ui` again.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.error?.message ?? `The server answered ${response.status}.`);
  return body;
}

/** Has all there is in the file. */
class Embedded {
  live = false;

  constructor(data) {
    this.data = data;
    this.content = data.content;
  }

  async rows(query, before, limit) {
    const start = before ? Number(before) : 0;
    const newest = this.data.rows.reduce((most, row) => Math.max(most, row.t), 0);
    const wanted = this.data.rows.filter(parse(query, newest, (row) => this.#texts(row.summary)));
    const end = start + limit;
    return { rows: wanted.slice(start, end), before: end < wanted.length ? String(end) : null, newest: this.data.rows.length };
  }

  async sparks() {
    return this.data.sparks;
  }

  async timeline(id) {
    return this.#of(id).timeline;
  }

  async records(id) {
    return this.#of(id).records;
  }

  async seen(id) {
    return this.#of(id).seen;
  }

  async machine() {
    return this.data.machine;
  }

  /** All that was said in a stream, as far as the file has it. */
  #texts(id) {
    const { records } = this.#of(id);
    return records.map(({ text = "", arguments: given = "", request }) => `${text}${given}${request ? JSON.stringify(request) : ""}`).join("");
  }

  #of(id) {
    if (!Object.hasOwn(this.data.details, id)) throw new Error("This file has no such stream.");
    return this.data.details[id];
  }
}

/** The log of this page. */
export function source() {
  const data = document.getElementById("data");
  return data ? new Embedded(JSON.parse(data.textContent)) : new Server();
}
