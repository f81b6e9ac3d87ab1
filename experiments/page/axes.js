// Axes: recall by its nines, everything else logarithmic; ticks that fit their room.

const LETTER = 7.2; // pixels of a digit in a tick's label
const NINES = [1, 2, 3, 4, 5, 6];
const RECALL_TICKS = [
  [...NINES.map((i) => 1 - 10 ** -i), 0.5, 0.95, 0],
  NINES.flatMap((i) => [2, 5].map((j) => 1 - j * 10 ** -i)),
  NINES.flatMap((i) => [3, 7, 4, 8, 6, 9].map((j) => 1 - j * 10 ** -i)),
];
const LOG_TICKS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]];
const ENOUGH = 5;

// -log10(1 - recall), so that every nine is equally wide; a recall of 1 has a slot of
// its own, after a break. As RecallAxis in experiments/plots/scales.py.
function recallAxis(recalls, resolution) {
  const one = 1 - resolution / 2;
  const inner = recalls.filter((r) => r < one).map((r) => -Math.log10(1 - r));
  const hasSlot = inner.length < recalls.length;
  let top = inner.length ? Math.max(...inner) : 2;
  let low = inner.length ? Math.min(...inner) : 0.85;
  if (top - low < 0.8) {
    low = Math.max(0, top - 0.8);
    top = Math.max(top, low + 0.8);
  }
  const gap = Math.max(0.2, 0.13 * (top - low));
  const slot = top + gap;
  return {
    one,
    hasSlot,
    slot,
    breakAt: top + 0.5 * gap,
    range: [low - 0.05 * (top - low), top + gap * (hasSlot ? 1.45 : 0.45)],
    place: (recall) => (recall >= one ? slot : -Math.log10(1 - recall)),
  };
}

const recallLabel = (recall) => String(+recall.toPrecision(8)).replace(/^0(?=\.)/, "");

// Ticks of a recall axis within a range, so many pixels long.
function recallTicks(axis, range, pixels, letter = LETTER) {
  const [low, high] = range;
  const end = axis.hasSlot ? Math.min(axis.breakAt, high) : high;
  const kept = [];
  const add = (at, label) => {
    const far = kept.every(
      ([other, name]) =>
        (Math.abs(at - other) / (high - low)) * pixels >
        ((label.length + name.length) * letter) / 2 + 8,
    );
    if (far) kept.push([at, label]);
  };
  if (axis.hasSlot && axis.slot >= low && axis.slot <= high) add(axis.slot, "1.0");
  for (const tier of RECALL_TICKS) {
    if (kept.length >= ENOUGH) break;
    for (const recall of tier) {
      const at = -Math.log10(1 - recall);
      if (at >= low && at <= end) add(at, recallLabel(recall));
    }
  }
  return kept.sort((a, b) => a[0] - b[0]);
}

// Limits around positive values, as exponents, at least a factor of four apart.
function logRange(values, pad = 0.07) {
  const logs = values.map(Math.log10);
  const low = Math.min(...logs),
    high = Math.max(...logs);
  const missing = Math.max(0, Math.log10(4) - (high - low)) / 2;
  const margin = missing + pad * Math.max(high - low, 0.6);
  return [low - margin, high + margin];
}

const logAxis = (values, write, title, pad) => ({
  log: true,
  range: logRange(values, pad),
  write,
  title,
});

// Round ticks of a log axis, five or more where so many fit.
function logTicks(range, most, write) {
  const [low, high] = range;
  let ticks = [];
  for (const pattern of LOG_TICKS) {
    const finer = [];
    for (let decade = Math.floor(low); decade <= Math.ceil(high); decade += 1) {
      for (const step of pattern) {
        const at = Math.log10(step) + decade;
        if (at >= low && at <= high) finer.push(+(step * 10 ** decade).toPrecision(3));
      }
    }
    if (ticks.length && finer.length > most) break;
    ticks = finer;
    if (ticks.length >= ENOUGH) break;
  }
  const step = Math.ceil(ticks.length / most) || 1;
  return ticks.filter((_, i) => i % step === 0).map((at) => [at, write(at)]);
}

// Push labels apart by a least distance, keeping their order, within [low, high].
function spread(places, distance, low, high) {
  const order = [...places.keys()].sort((a, b) => places[a] - places[b]);
  const at = [...places];
  let least = low;
  for (const i of order) {
    at[i] = Math.max(places[i], least);
    least = at[i] + distance;
  }
  let most = high;
  for (const i of order.reverse()) {
    at[i] = Math.min(at[i], most);
    most = at[i] - distance;
  }
  return at;
}
