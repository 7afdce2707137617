// Where a moment lies on the axis of a stream, as a share of its width.

const FOLDED = 0.06;
// The share of the axis that a folded silence has.

const STEPS = [1, 2, 5];

/**
 * A scale over `[0, end]` microseconds. Silences among `gaps` that would have more than a share of
 * `FOLDED` get just that where `fold` is asked for: the rest gets the room.
 */
export function scale(end, gaps = [], fold = false) {
  const length = Math.max(end, 1);
  const long = fold ? apart(gaps.filter((gap) => gap.end_us - gap.start_us > length * FOLDED)) : [];
  const quiet = long.reduce((sum, gap) => sum + gap.end_us - gap.start_us, 0);
  const busy = length - quiet;
  const each = long.length && busy > 0 ? Math.min(FOLDED, 0.6 / long.length) : 1 / Math.max(1, long.length);
  const rest = busy > 0 ? 1 - each * long.length : 0;
  const parts = [];
  let us = 0;
  let share = 0;
  const add = (to, width) => {
    parts.push({ us, to, share, width });
    us = to;
    share += width;
  };
  for (const gap of long) {
    if (gap.start_us > us) add(gap.start_us, ((gap.start_us - us) / busy) * rest);
    add(gap.end_us, each);
  }
  if (us < length) add(length, ((length - us) / Math.max(1, busy)) * rest);
  return {
    end: length,
    folded: long,
    parts,
    at(moment) {
      const clamped = Math.min(length, Math.max(0, moment));
      const part = parts.find((found) => clamped <= found.to) ?? parts.at(-1);
      return part.share + ((clamped - part.us) / Math.max(1, part.to - part.us)) * part.width;
    },
    moment(where) {
      const part = parts.find((found) => where <= found.share + found.width) ?? parts.at(-1);
      return part.us + (part.width ? (where - part.share) / part.width : 0) * (part.to - part.us);
    },
  };
}

/** Gaps in the order of time, without what overlaps an earlier one. */
function apart(gaps) {
  const found = [];
  for (const gap of [...gaps].sort((a, b) => a.start_us - b.start_us)) {
    if (!found.length || gap.start_us >= found.at(-1).end_us) found.push(gap);
  }
  return found;
}

/** Round moments for the axis, about `most` of them, none too near to another or in what is folded. */
export function ticks(on, most) {
  const rough = (on.end - on.folded.reduce((sum, gap) => sum + gap.end_us - gap.start_us, 0)) / most;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = power * (STEPS.find((each) => each * power >= rough) ?? 10);
  const found = [];
  for (const part of on.parts) {
    if (on.folded.some((gap) => gap.start_us === part.us)) continue;
    for (let us = Math.ceil(part.us / step) * step; us <= part.to; us += step) {
      const share = on.at(us);
      if (!found.length || share - found.at(-1).share > 0.6 / most) found.push({ us, share });
    }
  }
  return found;
}
