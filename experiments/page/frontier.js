"use strict";
// experiments/frontier.py for the slider; a test holds the two together.

function frontier(recall, cost) {
  const order = recall.map((_, i) => i);
  order.sort((a, b) => recall[b] - recall[a] || cost[a] - cost[b] || a - b);
  const kept = [];
  for (const i of order) {
    if (!kept.length || cost[i] < cost[kept.at(-1)]) kept.push(i);
  }
  return kept.reverse();
}

// Where a recall lies on the frontier of a cost, or null if it is beyond. Settings with
// a NaN are left out.
function readAt(target, recall, cost) {
  const known = [...recall.keys()].filter((i) => !isNaN(recall[i] + cost[i]));
  const best = frontier(
    known.map((i) => recall[i]),
    known.map((i) => cost[i]),
  );
  const path = best.map((j) => known[j]);
  if (!path.length || recall[path.at(-1)] < target) return null;
  const place = path.findIndex((i) => recall[i] >= target);
  const above = path[place];
  if (place === 0 || recall[above] === target) {
    const bound = recall[above] > target && path.length > 1;
    return { below: above, above, share: 1, gap: 0, bound };
  }
  const below = path[place - 1];
  const gap = recall[above] - recall[below];
  return { below, above, share: (target - recall[below]) / gap, gap, bound: false };
}

// The value of a measure between the two settings of a reading.
function valueOf(reading, values) {
  const below = values[reading.below],
    above = values[reading.above];
  if (reading.below === reading.above) return below;
  if (!(below > 0 && above > 0)) return NaN;
  return Math.exp((1 - reading.share) * Math.log(below) + reading.share * Math.log(above));
}

// "≤" for a bound ("≥" of a rate), "~" for a wide gap, or nothing.
function markOf(reading, rate = false) {
  if (reading.bound) return rate ? "≥" : "≤";
  return reading.gap > DATA.coarse ? "~" : "";
}
