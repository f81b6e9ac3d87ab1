// The ranking at the recall of the slider, and the table of every point.

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// A curve's line and mark, as a picture beside its name.
const MARKS = {
  circle: "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z",
  square: "M-3.6-3.6H3.6V3.6H-3.6Z",
  diamond: "M0-5L5 0L0 5L-5 0Z",
  "diamond-tall": "M0-5.4L3 0L0 5.4L-3 0Z",
  "triangle-up": "M0-4.6L4.4 3.4H-4.4Z",
  "triangle-down": "M0 4.6L4.4-3.4H-4.4Z",
  "triangle-left": "M-4.6 0L3.4-4.4V4.4Z",
  "triangle-right": "M4.6 0L-3.4-4.4V4.4Z",
  cross: "M-1.6-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z",
  x: "M0-2.2L2.6-4.8L4.8-2.6L2.2 0L4.8 2.6L2.6 4.8L0 2.2L-2.6 4.8L-4.8 2.6L-2.2 0L-4.8-2.6L-2.6-4.8Z",
  pentagon: "M0-4.8L4.6-1.5L2.8 3.9H-2.8L-4.6-1.5Z",
};

function swatch(curve) {
  const space = "http://www.w3.org/2000/svg",
    colour = colourOf(curve);
  const part = (tag, attributes) => {
    const node = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const { symbol, dash, width } = curve.look;
  const open = symbol.includes("-open"),
    dotted = symbol.endsWith("-dot");
  const picture = part("svg", { class: "swatch", viewBox: "-17 -7 34 14", "aria-hidden": "true" });
  const line = part("path", {
    d: "M-17 0H17",
    stroke: colour,
    "stroke-width": width,
    fill: "none",
  });
  if (dash !== "solid") line.setAttribute("stroke-dasharray", dash.replaceAll("px", ""));
  const mark = MARKS[symbol.replace(/-(open|dot).*/, "")];
  picture.append(
    line,
    part("path", {
      d: mark,
      stroke: colour,
      "stroke-width": 1.4,
      fill: open ? css("--paper") : colour,
    }),
  );
  if (dotted) picture.append(part("circle", { r: 1.5, fill: open ? colour : css("--paper") }));
  return picture;
}

const latencyColumn = (name) => ({ key: `${name}_us`, head: `${called(name)} µs` });
const RANKED = [
  { key: "qps", head: "QPS", rate: true },
  { key: "qps_1thread", head: "QPS 1 thread", rate: true },
  { key: "distance_computations", head: "vectors scored" },
  { key: "index_bytes", head: "index MB", write: megabytes, constant: true },
  { key: "build_s", head: "build s", constant: true },
];

function ranking(section) {
  const { recall, rank } = section.state;
  const { p50, p99 } = section.latencies;
  const columns = [...[p50, p99].map(latencyColumn), ...RANKED].filter(({ key }) =>
    section.curves.some((curve) => numbersOf(curve, key).some(isKnown)),
  );
  const by = columns.find(({ key }) => key === rank) ?? columns[0];
  const lines = shown(section).map((curve) => {
    const reading = readingOf(section, curve, recall);
    const numbers = reading ? readAll(curve, reading, columns) : {};
    return { curve, reading, numbers, value: numbers[by?.key] ?? NaN };
  });
  lines.sort(
    (a, b) =>
      isNaN(a.value) - isNaN(b.value) || (by?.rate ? b.value - a.value : a.value - b.value) || 0,
  );
  const table = section.node.querySelector("table.ranking");
  table.tHead.replaceChildren(rankingHead(section, columns, by));
  table.tBodies[0].replaceChildren(
    ...lines.map((line, i) => rankingRow(section, columns, line, i + 1)),
  );
  const reach = lines.filter(({ reading }) => reading).length;
  section.node.querySelector(".ranking-note .reach").textContent =
    `${reach} of ${lines.length} curves reach recall@10 = ${recall}.`;
}

// Every measure of the columns, and the ends of its interval, at a reading.
function readAll(curve, reading, columns) {
  const keys = columns.flatMap(({ key }) => [key, `${key}_low`, `${key}_high`]);
  return Object.fromEntries(keys.map((key) => [key, valueOf(reading, numbersOf(curve, key))]));
}

function rankingHead(section, columns, by) {
  const heads = columns.map((column) => {
    const several = column.key === "qps" && section.threads > 1;
    const name = several ? `QPS ${section.threads} threads` : column.head;
    const button = element("button", { type: "button", textContent: name });
    button.dataset.rank = column.key;
    button.addEventListener("click", () => {
      section.state.rank = column.key;
      ranking(section);
    });
    const head = element("th", { scope: "col" }, button);
    if (column === by) head.setAttribute("aria-sort", column.rate ? "descending" : "ascending");
    return head;
  });
  const [index, setting] = ["index", "setting that reaches it"].map((name) =>
    element("th", { scope: "col", textContent: name }),
  );
  setting.style.textAlign = "left";
  return element("tr", {}, index, ...heads, setting);
}

function rankingRow(section, columns, { curve, reading, numbers }, place) {
  const name = element(
    "th",
    { scope: "row", className: nameLook(curve.label) },
    reading ? `${place}. ` : "",
    swatch(curve),
    curve.label,
  );
  const around = reading ? [reading.below, reading.above] : [];
  if (around.some((i) => curve.points[i].numbers.sway > DATA.noisy))
    name.append(" ", badge("noisy"));
  const cells = columns.map((column) => {
    const mark =
      reading && isKnown(numbers[column.key]) && !column.constant
        ? markOf(reading, column.rate)
        : "";
    return cell(numbers, column, mark);
  });
  const best = Math.max(0, ...numbersOf(curve, "recall_at_10").filter(isKnown));
  const words = reading
    ? curve.points[reading.above].words
    : `best recall ${best ? recallWords(best) : DASH}`;
  const setting = element("td", { className: "words", textContent: words });
  const row = element(
    "tr",
    { className: reading ? "point" : "unreached" },
    name,
    ...cells,
    setting,
  );
  row.dataset.curve = curve.label;
  if (reading) row.addEventListener("click", () => showRecipe(curve, reading.above));
  return row;
}

const badge = (words) => element("span", { className: "badge", textContent: words });

// A number and, below it, its interval.
function cell(numbers, { key, write = digits }, mark = "") {
  const node = element("td", { textContent: mark + write(numbers[key]) });
  const ends = span(numbers, key, write);
  if (ends) node.append(element("small", { textContent: ends }));
  return node;
}

const whole = (value) => (isKnown(value) ? String(value) : DASH);
const COLUMNS = [
  { key: "recall_at_1", head: "@1", write: recallWords },
  { key: "recall_at_5", head: "@5", write: recallWords },
  { key: "recall_at_10", head: "@10", write: recallWords },
  { key: "recall_at_10_strict", head: "@10 ids alone", write: recallWords },
  { key: "recall_at_10_ab", head: "@10 ann-benchmarks", write: recallWords },
  { key: "share_50", head: "≥ 0.5", write: percent },
  { key: "share_90", head: "≥ 0.9", write: percent },
  { key: "share_100", head: "all", write: percent },
  { key: "recall_p5", head: "p5", write: fixed(2) },
  { key: "zero_recall", head: "none", write: whole },
  ...LATENCIES.slice(0, 3).map(latencyColumn),
  { key: "mean_us", head: "mean µs" },
  ...LATENCIES.slice(3).map(latencyColumn),
  { key: "sway", head: "sway", write: percent },
  { key: "qps", head: "QPS" },
  { key: "qps_1thread", head: "QPS 1 thread" },
  { key: "distance_computations", head: "scored" },
  { key: "build_s", head: "build s" },
  { key: "compile_s", head: "compile s" },
  { key: "index_bytes", head: "index MB", write: megabytes },
  { key: "peak_rss_bytes", head: "peak MB", write: megabytes },
  { key: "cores", head: "cores", write: fixed(2) },
  { key: "builds", head: "builds", write: whole },
];

// Fill the table of every point; it is long, so only when it is opened.
function everyPoint(section) {
  const columns = COLUMNS.filter(({ key }) =>
    section.curves.some((curve) => numbersOf(curve, key).some(isKnown)),
  );
  const table = section.node.querySelector("details.points table");
  const heads = ["index / setting", ...columns.map(({ head }) => head)];
  table.tHead.replaceChildren(
    element("tr", {}, ...heads.map((head) => element("th", { scope: "col", textContent: head }))),
  );
  table.tBodies[0].replaceChildren(
    ...section.curves.flatMap((curve) => {
      const title = element("th", {
        scope: "rowgroup",
        className: nameLook(curve.label),
        textContent: curve.label,
      });
      return [
        element("tr", { className: "group" }, title, element("td", { colSpan: columns.length })),
        ...curve.points.map((point, i) => pointRow(curve, point, i, columns)),
      ];
    }),
  );
}

function pointRow(curve, point, i, columns) {
  const { numbers } = point;
  const name = element("th", { scope: "row", textContent: point.search || point.build || DASH });
  if (numbers.sway > DATA.noisy) name.append(" ", badge(`noisy ${percent(numbers.sway)}`));
  const cells = columns.map((column) => cell(numbers, column));
  const row = element("tr", { className: "point" }, name, ...cells);
  row.dataset.curve = curve.label;
  row.addEventListener("click", () => showRecipe(curve, i));
  return row;
}
