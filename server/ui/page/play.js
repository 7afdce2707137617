// What the client had seen of an answer at a moment.

/**
 * The parts of an answer, each with its whole text and how much of it there was after each frame:
 * so any moment is a look-up and a cut, forth and back.
 */
export function parts(frames) {
  const found = new Map();
  const order = [];
  const part = (kind, choice, index) => {
    const key = `${kind} ${choice} ${index}`;
    if (!found.has(key)) {
      found.set(key, { key, kind, choice, index, pieces: [], text: "", steps: [] });
      order.push(found.get(key));
    }
    return found.get(key);
  };
  let item = 0;
  let last = "";
  frames.forEach((frame, at) => {
    for (const { kind, text = "", choice = 0, index = 0 } of frame.pieces ?? []) {
      const shape = SHAPES[kind];
      if (!shape) continue;
      if (shape === "call" && kind === "tool_call") {
        const call = part("call", choice, index);
        call.name = text;
        call.steps.push({ at, length: call.length ?? 0 });
        continue;
      }
      if (shape !== last && ["content", "reasoning"].includes(shape)) item++;
      last = shape;
      const own = part(shape, choice, shape === "call" ? index : shape === "content" || shape === "reasoning" ? item : 0);
      own.pieces.push(text);
      own.length = (own.length ?? 0) + text.length;
      own.steps.push({ at, length: own.length });
    }
  });
  for (const each of order) each.text = each.pieces.join("");
  return order;
}

const SHAPES = {
  content: "content",
  reasoning: "reasoning",
  refusal: "refusal",
  tool_call: "call",
  tool_arguments: "call",
  finish: "finish",
  failure: "failure",
};

/** The number of frames that the client had at a moment. */
export function framesAt(frames, us) {
  let low = 0;
  let high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle].at_us <= us) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The text of a part after a number of frames; null where it had not begun. */
export function textAfter(part, number) {
  let low = 0;
  let high = part.steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (part.steps[middle].at < number) low = middle + 1;
    else high = middle;
  }
  return low ? part.text.slice(0, part.steps[low - 1].length) : null;
}
