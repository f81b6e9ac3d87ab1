// Numbers as words.

const DASH = "–";
const isKnown = (value) => value !== undefined && value !== null && !isNaN(value);

// Three significant digits, thousands apart.
function digits(value) {
  if (!isKnown(value)) return DASH;
  const places = 3 - String(Math.trunc(Math.abs(value))).length;
  const scale = 10 ** places;
  const rounded = Math.round(value * scale) / scale;
  const fixed = Math.max(places, 0);
  return rounded.toLocaleString("en-US", {
    minimumFractionDigits: fixed,
    maximumFractionDigits: fixed,
  });
}

// As experiments/percentiles.py names them: of all single queries, and of query medians.
const LATENCIES = ["p50", "p95", "p99", "query_median_p50", "query_median_p95", "query_median_p99"];
const called = (name) => name.replace("query_median_", "query-median ");

const fixed = (places) => (value) => (isKnown(value) ? value.toFixed(places) : DASH);
const recallWords = fixed(4);
const count = (value) => (isKnown(value) ? Math.round(value).toLocaleString("en-US") : DASH);
const percent = (value) => (isKnown(value) ? `${+(100 * value).toPrecision(3)} %` : DASH);
const megabytes = (value) => (isKnown(value) ? fixed(1)(value / 1e6) : DASH);

function scaled(units) {
  return (value) => {
    const [name, scale] = units.findLast(([, least]) => value >= least * 0.9995) ?? units[0];
    return `${+(value / scale).toPrecision(3)} ${name}`;
  };
}

const time = scaled([
  ["ns", 1e-3],
  ["µs", 1],
  ["ms", 1e3],
  ["s", 1e6],
]);
const seconds = scaled([
  ["µs", 1e-6],
  ["ms", 1e-3],
  ["s", 1],
]);
const bytes = scaled([
  ["B", 1],
  ["kB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
]);
const plain = (value) => (value >= 1 ? count(value) : String(+value.toPrecision(3)));

// The interval of a measure, where it has one.
function span(numbers, key, write) {
  const low = numbers[`${key}_low`],
    high = numbers[`${key}_high`];
  return isKnown(low + high) ? `${write(low)}–${write(high)}` : "";
}

function spanned(numbers, key, write) {
  const ends = span(numbers, key, write);
  return write(numbers[key]) + (ends && ` [${ends}]`);
}

// Plotly reads a little HTML in its texts; a label is none.
const quoted = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// A curve's name in the words beside the pointer, which have no end of their own.
const inBold = (label) => wrapped(label, 420, 12.5, 700).map((line) => `<b>${quoted(line)}</b>`).join("<br>");

const nameLook = (label) => (label.length > DATA.long ? "long" : "");
