// The answer as the client had it at a moment.

import { html, useMemo } from "./vendor/preact-htm.js";
import { lines, shown } from "./format.js";
import { framesAt, parts, textAfter } from "./play.js";

/**
 * The parts that had begun, with a caret behind the last. `refusal` is the record of a request that
 * never became a stream.
 */
export function Answer({ seen, now, ending, masked, refusal }) {
  if (refusal) return html`<div class="answer"><p class="part part-failure"><span class="tag">refused</span>${refusal.status} ${shown(refusal.code)}: ${shown(refusal.message)}</p></div>`;
  return html`<${Parts} seen=${seen} now=${now} end=${ending.at_us} open=${ending.kind === "open"} masked=${masked} />`;
}

function Parts({ seen, now, end, open, masked }) {
  const frames = seen.frames ?? [];
  const every = useMemo(() => parts(frames), [frames]);
  const number = framesAt(frames, now);
  const begun = every.map((part) => [part, textAfter(part, number)]).filter(([, text]) => text !== null);
  const choices = new Set(every.map((part) => part.choice)).size;
  return html`
    <div class="answer" tabindex="0" role="region" aria-label="Answer">
      ${masked && html`<p class="note">The log keeps no words: letters and digits are shown as *, their number and order are the client's.</p>`}
      ${seen.problem && html`<p class="note">What follows cannot be made again: ${shown(seen.problem)}</p>`}
      ${begun.length === 0 && html`<p class="quiet-text">${now >= end && !open ? "The client got no answer." : "Nothing yet."}</p>`}
      ${begun.map(([part, text], at) => html`
        <${Part} key=${part.key} part=${part} text=${text} choices=${choices} caret=${at === begun.length - 1 && (open || now < end)} />`)}
    </div>`;
}

const NAMES = { reasoning: "thinking", refusal: "refusal", finish: "finish", failure: "error" };

function Part({ part, text, choices, caret }) {
  const mark = caret && html`<i class="caret" aria-hidden="true"></i>`;
  const choice = choices > 1 && html`<span class="tag">choice ${part.choice}</span>`;
  if (part.kind === "call") {
    return html`
      <div class="part part-call">${choice}<span class="tag">call</span><b>${shown(part.name ?? "")}</b>
        <pre dir="auto">${lines(text)}${mark}</pre>
      </div>`;
  }
  if (part.kind === "finish" || part.kind === "failure") {
    return html`<p class=${`part part-${part.kind}`}>${choice}<span class="tag">${NAMES[part.kind]}</span>${shown(text)}</p>`;
  }
  return html`
    <div class=${`part part-${part.kind}`}>${choice}${part.kind !== "content" && html`<span class="tag">${NAMES[part.kind]}</span>`}
      <div class="text" dir="auto">${lines(text)}${mark}</div>
    </div>`;
}
