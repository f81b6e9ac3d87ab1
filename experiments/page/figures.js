// What the figures of a section show: each is a function of the section's state; null
// where the data do not allow it.

const VIEWS = {
  ...Object.fromEntries(
    LATENCIES.map((name) => [
      `${name}_us`,
      { name: `latency, ${called(name)}`, write: time, title: `${called(name)} of latency` },
    ]),
  ),
  mean_us: { name: "latency, mean", write: time, title: "mean latency of a query" },
  qps_1thread: {
    name: "throughput, 1 thread",
    write: plain,
    title: "queries per second, 1 thread",
    rate: true,
  },
  qps: { name: "throughput", write: plain, title: "queries per second", rate: true },
  distance_computations: {
    name: "vectors scored",
    write: plain,
    title: "vectors scored per query",
  },
};
const UNREACHED = "no curve that is shown reaches this recall";
const TAILS = {
  tail_us: { what: "single queries", axis: "queries that are slower" },
  query_median_tail_us: { what: "query medians", axis: "query medians that are slower" },
};
const MARKED_SHARES = [0.5, 0.1, 0.01, 0.001];
const LOADS = [0, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2];

const p50Of = (section) => `${section.latencies.p50}_us`;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => document.documentElement.dataset.theme === "dark";
const colourOf = (curve) => curve.look[isDark() ? "dark" : "light"];
const shown = (section) => section.curves.filter((curve) => !section.state.hidden.has(curve.label));
const numbersOf = (curve, name) => curve.points.map((point) => point.numbers[name] ?? NaN);
const readingOf = (section, curve, recall) =>
  readAt(recall, numbersOf(curve, "recall_at_10"), numbersOf(curve, p50Of(section)));

// The cheapest measured settings that reach the recall of the slider.
function reached(section) {
  return shown(section).flatMap((curve) => {
    const reading = readingOf(section, curve, section.state.recall);
    return reading ? [{ curve, reading, point: curve.points[reading.above] }] : [];
  });
}

function describe(curve, point) {
  const value = (name) => point.numbers[name];
  const lines = [`${inBold(curve.label)}  ${quoted(point.search)}`, quoted(point.build)];
  lines.push(`recall@10 ${spanned(point.numbers, "recall_at_10", recallWords)}`);
  const pooled = LATENCIES.slice(0, 3).filter((name) => isKnown(value(`${name}_us`)));
  const medians = LATENCIES.slice(3).filter(
    (name, i) => isKnown(value(`${name}_us`)) && !pooled.includes(LATENCIES[i]),
  );
  for (const name of [...medians, ...pooled])
    lines.push(`${called(name)} ${spanned(point.numbers, `${name}_us`, time)}`);
  for (const [name, words] of [
    ["qps", "QPS"],
    ["qps_1thread", "QPS, 1 thread"],
  ]) {
    if (isKnown(value(name))) lines.push(`${words} ${count(value(name))}`);
  }
  if (isKnown(value("distance_computations")))
    lines.push(`${count(value("distance_computations"))} vectors scored`);
  if (value("sway") > DATA.noisy) lines.push(`noisy: one round moves p50 by ${percent(value("sway"))}`);
  lines.push("<i>click: measure it again</i>");
  return lines.filter(Boolean).join("<br>");
}

function lineLook(curve) {
  const { symbol, size, width, dash } = curve.look,
    color = colourOf(curve);
  const scale = innerWidth < 600 ? 0.75 : 1;
  const dotted = symbol.endsWith("-dot") && !symbol.includes("-open");
  const line = { color: dotted ? css("--paper") : color, width: 1.3 * scale };
  return {
    line: { color, width: width * scale, dash },
    marker: { symbol, size: size * scale, color, line },
  };
}

// Bars from the points' places to the ends of their intervals, where they have any.
function errorBars(points, key, places, place, color) {
  const ends = points.map(({ numbers }) => [numbers[`${key}_low`], numbers[`${key}_high`]]);
  if (!ends.some(([low, high]) => isKnown(low + high))) return undefined;
  const far = (end, i, sign) => (isKnown(end) ? Math.max(0, sign * (place(end) - places[i])) : 0);
  return {
    type: "data",
    symmetric: false,
    thickness: 1,
    width: 0,
    color,
    array: ends.map(([, high], i) => far(high, i, 1)),
    arrayminus: ends.map(([low], i) => far(low, i, -1)),
  };
}

function tradeoff(section) {
  const { k, view: key } = section.state;
  const view = VIEWS[key];
  const every = section.curves.flatMap((curve) => drawable(curve, k, key));
  if (!every.length) return null;
  const axis = recallAxis(
    every.map(({ numbers }) => numbers[`recall_at_${k}`]),
    1 / (k * section.nq),
  );
  const drawn = shown(section).filter((curve) => drawable(curve, k, key).length);
  const traces = drawn.map((curve) => staircase(section, curve, axis));
  return {
    title: `Recall@${k} against ${view.name}`,
    traces: traces.flat(),
    ends: drawn.map((curve, i) => {
      const { x, y } = traces[i][0];
      return { curve, x: x.at(-1), y: Math.log10(y.at(-1)) };
    }),
    shapes: k === 10 ? [atRecall(axis.place(section.state.recall))] : [],
    x: { recall: axis, range: axis.range, title: `recall@${k}` },
    y: logAxis(
      every.map(({ numbers }) => numbers[key]),
      view.write,
      view.title,
    ),
    better: view.rate ? "upper right" : "lower right",
    height: 560,
    slot: axis.hasSlot ? axis.breakAt : null,
  };
}

// A curve's settings that have both a recall and a value on a log axis.
const drawable = (curve, k, key) =>
  curve.points.filter(({ numbers }) => isKnown(numbers[`recall_at_${k}`]) && numbers[key] > 0);

// A curve's steps through the settings that no other beats, and the beaten ones.
function staircase(section, curve, axis) {
  const { k, view: key, intervals, beaten } = section.state;
  const points = drawable(curve, k, key);
  const recall = points.map(({ numbers }) => numbers[`recall_at_${k}`]);
  const values = points.map(({ numbers }) => numbers[key]);
  const best = frontier(recall, VIEWS[key].rate ? values.map((value) => -value) : values);
  const part = (chosen) => ({
    type: "scatter",
    meta: quoted(curve.label),
    hoverinfo: "text",
    x: chosen.map((i) => axis.place(recall[i])),
    y: chosen.map((i) => values[i]),
    text: chosen.map((i) => describe(curve, points[i])),
    customdata: chosen.map((i) => placeOf(section, curve, points[i])),
    ...lineLook(curve),
  });
  const steps = { ...part(best), mode: "lines+markers" };
  steps.line.shape = "vh";
  if (points.length > 8) steps.marker.size *= Math.max(0.6, (8 / points.length) ** 0.5);
  if (intervals) {
    const chosen = best.map((i) => points[i]);
    const color = `${colourOf(curve)}80`;
    steps.error_y = errorBars(chosen, key, steps.y, (value) => value, color);
    steps.error_x = errorBars(chosen, `recall_at_${k}`, steps.x, axis.place, color);
  }
  const rest = [...points.keys()].filter((i) => !best.includes(i));
  if (!beaten || !rest.length) return [steps];
  return [steps, { ...part(rest), mode: "markers", opacity: 0.3 }];
}

// Where a click finds a point again: its curve and its place on it.
const placeOf = (section, curve, point) => [
  section.curves.indexOf(curve),
  curve.points.indexOf(point),
];

function atRecall(x) {
  const line = { color: css("--soft"), width: 1, dash: "dot" };
  return { type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line };
}

// What an index costs against p50, at the recall of the slider, and the front of both.
function front(section, { key, write, name, axis, scale = 1 }) {
  const found = reached(section).flatMap(({ curve, reading, point }) => {
    const x = valueOf(reading, numbersOf(curve, key)) / scale;
    const y = valueOf(reading, numbersOf(curve, p50Of(section)));
    return x > 0 && y > 0 ? [{ curve, point, x, y }] : [];
  });
  if (!found.length) return emptied(section, key, name);
  const xs = found.map(({ x }) => x);
  const ys = found.map(({ y }) => y);
  return {
    title: `${name} against latency, at recall@10 = ${section.state.recall}`,
    traces: [frontLine(xs, ys), ...found.map((each) => frontMark(section, each, write))],
    ends: found.map(({ curve, x, y }) => ({ curve, x: Math.log10(x), y: Math.log10(y) })),
    x: logAxis(xs, write, axis, 0.1),
    y: logAxis(ys, time, VIEWS[p50Of(section)].title, 0.1),
    better: "lower left",
  };
}

function frontLine(xs, ys) {
  const fewest = xs.map((x) => -x);
  const best = frontier(fewest, ys).reverse();
  return {
    type: "scatter",
    mode: "lines",
    hoverinfo: "skip",
    x: best.map((i) => xs[i]),
    y: best.map((i) => ys[i]),
    line: { shape: "hv", color: css("--soft"), width: 1.2, dash: "dot" },
  };
}

function frontMark(section, { curve, point, x, y }, write) {
  const { marker } = lineLook(curve);
  const p50 = `${called(section.latencies.p50)} ${time(y)}`;
  const words = [`${inBold(curve.label)}`, write(x), p50, quoted(point.words)];
  return {
    type: "scatter",
    mode: "markers",
    hoverinfo: "text",
    meta: quoted(curve.label),
    x: [x],
    y: [y],
    text: [words.join("<br>")],
    marker: { ...marker, size: marker.size * 1.5 },
    customdata: [placeOf(section, curve, point)],
  };
}

// A figure that the data would allow, but not at this recall; or none at all.
function emptied(section, key, name) {
  const any = section.curves.some((curve) => numbersOf(curve, key).some((value) => value > 0));
  return any ? { title: name, empty: UNREACHED } : null;
}

const memory = (section) =>
  (section.n || null) &&
  front(section, {
    key: "index_bytes",
    write: bytes,
    name: "Memory",
    axis: "index bytes per vector",
    scale: section.n,
  });
const build = (section) =>
  front(section, { key: "build_s", write: seconds, name: "Build time", axis: "time to build" });

// A curve of each setting that reaches the recall, from a part of its profile.
function profiles(section, part, coordinates) {
  const all = section.curves.some((curve) => curve.points.some((point) => point.profile[part]));
  if (!all) return null;
  return reached(section)
    .filter(({ point }) => point.profile[part])
    .map(({ curve, point }) => {
      const { x, y, text, marked } = coordinates(point.profile[part]);
      const look = lineLook(curve);
      if (marked) look.marker.size = marked.map((mark) => (mark ? look.marker.size : 0));
      return {
        type: "scatter",
        mode: "lines+markers",
        hoverinfo: "text",
        meta: quoted(curve.label),
        x,
        y,
        ...look,
        text: text.map(
          (words) => `${inBold(curve.label)}  ${quoted(point.words)}<br>${words}`,
        ),
        customdata: x.map(() => placeOf(section, curve, point)),
      };
    });
}

const reaching = (section) => `at recall@10 ≥ ${section.state.recall}`;

function latency(section) {
  const { what, axis } = TAILS[section.tail];
  const traces = profiles(section, section.tail, (tail) => ({
    x: tail,
    y: DATA.shares.slice(0, tail.length),
    text: tail.map((us, i) => `${percent(DATA.shares[i])} of ${what} take ${time(us)} or more`),
    marked: tail.map((_, i) => MARKED_SHARES.includes(DATA.shares[i])),
  }));
  const title = `Latency of ${what}, ${reaching(section)}`;
  if (!traces?.length) return traces && { title, empty: UNREACHED };
  const least = Math.min(...traces.flatMap((trace) => trace.y));
  return {
    title,
    traces,
    x: logAxis(
      traces.flatMap((trace) => trace.x),
      time,
      "latency",
      0.03,
    ),
    y: {
      log: true,
      range: [Math.log10(least) - 0.1, 0.1],
      write: percent,
      title: axis,
    },
    better: "lower left",
  };
}

function lost(section) {
  const traces = profiles(section, "lost", (shares) => {
    const some = [...shares.keys()].filter((i) => shares[i] > 0);
    return {
      x: some.map((i) => DATA.fewerThan[i]),
      y: some.map((i) => shares[i]),
      text: some.map(
        (i) => `${percent(shares[i])} of the queries have a recall below ${DATA.fewerThan[i]}`,
      ),
    };
  });
  const title = `Recall of single queries, ${reaching(section)}`;
  if (!traces?.length) return traces && { title, empty: UNREACHED };
  return {
    title,
    traces,
    x: {
      range: [0.05, 1.03],
      ticks: DATA.fewerThan.map((least) => [least, String(least)]),
      title: "with a recall@10 below",
    },
    y: {
      log: true,
      range: [Math.log10(0.7 / section.nq), 0.1],
      write: percent,
      title: "share of the queries",
    },
    better: "lower",
  };
}

function byTenth(section, part, name) {
  let medians = [];
  const traces = profiles(section, part, (tenths) => {
    medians = tenths.map(([median]) => median);
    return {
      x: tenths.map((_, i) => i + 1),
      y: tenths.map(([, mean]) => mean),
      text: tenths.map(
        ([median, mean]) =>
          `median ${name} ${digits(median)}<br>mean recall@10 ${recallWords(mean)}`,
      ),
    };
  });
  const title = `Recall by ${name}, ${reaching(section)}`;
  if (!traces?.length) return traces && { title, empty: UNREACHED };
  const axis = recallAxis(
    traces.flatMap((trace) => trace.y),
    1 / section.nq,
  );
  for (const trace of traces) trace.y = trace.y.map(axis.place);
  return {
    title,
    traces,
    x: {
      range: [0.6, 10.4],
      ticks: medians.map((median, i) => [i + 1, `${i + 1}<br>${digits(median)}`]),
      title: "tenths, easiest first, and their medians",
    },
    y: { recall: axis, range: axis.range, title: "mean recall@10" },
    better: "upper",
  };
}

// What a query waits for, the busier its index is; of the setting that was loaded.
function underLoad(section, key, name) {
  const every = section.curves.flatMap((curve) => loadsOf(curve, key));
  if (!every.length) return null;
  const most = 1.06 * Math.max(...every.map(({ load }) => load.fraction));
  const drawn = shown(section).filter((curve) => loadsOf(curve, key).length);
  const traces = drawn.map((curve) => loadTrace(section, curve, key));
  return {
    title: `Latency under load, ${name}`,
    traces,
    ends: drawn.map((curve, i) => {
      const { x, y } = traces[i];
      return { curve, x: x.at(-1), y: Math.log10(y.at(-1)) };
    }),
    x: {
      range: [0, most],
      ticks: LOADS.filter((load) => load <= most).map((load) => [load, percent(load)]),
      title: "load",
    },
    y: logAxis(
      every.map(({ load }) => load[key]),
      time,
      `${name} of what a query waits`,
    ),
    better: "lower",
  };
}

const loadsOf = (curve, key) =>
  curve.points.flatMap((point) =>
    point.loads.filter((load) => load[key] > 0).map((load) => ({ point, load })),
  );

function loadTrace(section, curve, key) {
  const loads = loadsOf(curve, key);
  const words = ({ point, load }) => [
    `${inBold(curve.label)}  ${quoted(point.words)}`,
    `at ${percent(load.fraction)}, ${count(load.achieved_qps)} queries a second`,
    ...["p50", "p95", "p99"]
      .filter((name) => isKnown(load[`${name}_us`]))
      .map((name) => `${name} ${time(load[`${name}_us`])}`),
    `recall@10 ${recallWords(point.numbers.recall_at_10)}`,
  ];
  return {
    type: "scatter",
    mode: "lines+markers",
    hoverinfo: "text",
    meta: quoted(curve.label),
    x: loads.map(({ load }) => load.fraction),
    y: loads.map(({ load }) => load[key]),
    text: loads.map((each) => words(each).join("<br>")),
    customdata: loads.map(({ point }) => placeOf(section, curve, point)),
    ...lineLook(curve),
  };
}

const FIGURES = {
  tradeoff,
  memory,
  build,
  latency,
  lost,
  lid: (section) => byTenth(section, "lid", "local intrinsic dimension"),
  contrast: (section) => byTenth(section, "contrast", "relative contrast"),
  load50: (section) => underLoad(section, "p50_us", "p50"),
  load99: (section) => underLoad(section, "p99_us", "p99"),
};
