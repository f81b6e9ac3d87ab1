// How figures are drawn: all in the same manner.

const WIDE = 660; // pixels, from which a figure names its curves beside them
const FONT = 'system-ui, "DejaVu Sans", sans-serif';
const NAMES = 196; // pixels of the margin for the curves' names
const TEXT = 12.5,
  TITLE = 21,
  FACT = 14.5; // pixels: of a letter; of a line above a figure

const pen = document.createElement("canvas").getContext("2d");

// Whether a text is at most so many pixels wide.
function fits(text, pixels, size, weight = 400) {
  pen.font = `${weight} ${size}px ${FONT}`;
  return pen.measureText(text).width <= pixels;
}

// Break words, and within words that are too long, into lines of so many pixels.
function wrapped(text, pixels, size, weight) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const joined = (lines.at(-1) && `${lines.at(-1)} `) + word;
    if (fits(joined, pixels, size, weight)) {
      lines[lines.length - 1] = joined;
      continue;
    }
    if (lines.at(-1)) lines.push("");
    for (const letter of word) {
      if (lines.at(-1) && !fits(lines.at(-1) + letter, pixels, size, weight)) lines.push("");
      lines[lines.length - 1] += letter;
    }
  }
  return lines;
}

function axisLayout(axis, range, pixels, isX) {
  const most = Math.max(3, Math.floor(pixels / (isX ? 62 : 34)));
  const ticks =
    axis.ticks ??
    (axis.recall
      ? recallTicks(axis.recall, range, pixels, isX ? LETTER : 3)
      : logTicks(range, most, axis.write));
  return {
    range,
    type: axis.log ? "log" : "linear",
    tickmode: "array",
    tickvals: ticks.map(([at]) => at),
    ticktext: ticks.map(([, label]) => label),
    title: { text: axis.title, standoff: 8, font: { size: TEXT + 0.5 } },
    gridcolor: css("--grid"),
    linecolor: css("--line"),
    zeroline: false,
    showline: true,
    ticks: "outside",
    tickcolor: css("--line"),
    tickangle: 0,
  };
}

// Both ends of a label tell it from others: the index, and the run.
function shortened(label, pixels, size, weight) {
  if (fits(label, pixels, size, weight)) return label;
  const letters = [...label];
  const ends = (kept) => {
    const tail = Math.floor(kept / 2);
    return `${letters.slice(0, kept - tail).join("")}…${letters.slice(letters.length - tail).join("")}`;
  };
  let kept = 2;
  while (fits(ends(kept + 1), pixels, size, weight)) kept += 1;
  return ends(kept);
}

// The curves' names in the right margin, tied to their ends.
function endLabels(ends, ranges, area) {
  const part = (value, [low, high]) => (value - low) / (high - low);
  const inside = ends.filter(({ x, y }) =>
    [part(x, ranges.x), part(y, ranges.y)].every((p) => p >= 0 && p <= 1),
  );
  const px = inside.map(({ x, y }) => [
    part(x, ranges.x) * area.width,
    (1 - part(y, ranges.y)) * area.height,
  ]);
  const places = spread(
    px.map(([, y]) => y),
    15,
    4,
    area.height - 4,
  );
  const weightOf = (curve) => (curve.look.ours ? 700 : 400);
  return inside.map(({ curve, x, y }, i) => ({
    x,
    y,
    xref: "x",
    yref: "y",
    text: quoted(shortened(curve.label, NAMES - 26, 12, weightOf(curve))),
    ax: area.width + 14 - px[i][0],
    ay: places[i] - px[i][1],
    xanchor: "left",
    yanchor: "middle",
    showarrow: true,
    arrowhead: 0,
    arrowwidth: 0.7,
    arrowcolor: colourOf(curve),
    standoff: 5,
    font: { color: colourOf(curve), size: 12, weight: weightOf(curve) },
    align: "left",
  }));
}

const CORNERS = {
  "lower right": [0.99, 0.01, "better ↘"],
  "upper right": [0.99, 0.99, "better ↗"],
  "lower left": [0.01, 0.01, "↙ better"],
  lower: [0.01, 0.99, "↓ better"],
  upper: [0.01, 0.01, "↑ better"],
};

function corner(better) {
  const [x, y, text] = CORNERS[better];
  return {
    x,
    y,
    text,
    xref: "paper",
    yref: "paper",
    showarrow: false,
    font: { color: css("--soft"), size: 12 },
    xanchor: x > 0.5 ? "right" : "left",
    yanchor: y > 0.5 ? "top" : "bottom",
  };
}

let printing = false;
const PAPER = 1000; // pixels of a printed page's width
const GAP = 26; // between the two columns of the grid

function widthOf(node) {
  const home = node.parentElement;
  if (printing) return PAPER;
  return home.className === "grid" && innerWidth > 900
    ? (home.clientWidth - GAP) / 2
    : home.clientWidth;
}

// What all figures share: size, words above, colours.
function frame(section, drawn, width) {
  const facts = wrapped(
    [section.dataset, ...section.facts.slice(1)].join(" · "),
    width - 20,
    11,
  ).map(quoted);
  const titles = wrapped(drawn.title, width - 20, 18).map(quoted); // bold letters are wide
  const height =
    (width < 600 ? Math.min(400, drawn.height ?? 330) : (drawn.height ?? 330)) +
    facts.length * FACT;
  const twoLines = drawn.x?.ticks?.some(([, label]) => label.includes("<br>"));
  const paper = css("--paper"),
    ink = css("--ink");
  return {
    width,
    height,
    showlegend: false,
    hovermode: "closest",
    dragmode: width < 600 ? false : "zoom",
    margin: {
      l: 78,
      r: 14,
      t: 16 + titles.length * TITLE + facts.length * FACT,
      b: twoLines ? 70 : 54,
    },
    paper_bgcolor: paper,
    plot_bgcolor: paper,
    font: { family: FONT, size: TEXT, color: ink },
    hoverlabel: {
      align: "left",
      bgcolor: css("--raised"),
      bordercolor: css("--line"),
      font: { family: FONT, color: ink, size: 12.5 },
    },
    shapes: [...(drawn.shapes ?? [])],
    annotations: [
      heading(facts, { size: 11, color: css("--soft") }, 3),
      heading(
        titles.map((title) => `<b>${title}</b>`),
        { size: 15.5 },
        4 + facts.length * FACT,
      ),
    ],
  };
}

// Words above a figure, so many pixels above its frame.
function heading(lines, font, yshift) {
  return {
    text: lines.join("<br>"),
    font,
    yshift,
    showarrow: false,
    align: "left",
    x: 0,
    xref: "paper",
    xanchor: "left",
    xshift: -74,
    y: 1,
    yref: "paper",
    yanchor: "bottom",
  };
}

function nothing(layout, words) {
  layout.annotations.push({
    text: words,
    showarrow: false,
    x: 0.5,
    y: 0.5,
    xref: "paper",
    yref: "paper",
  });
  return { ...layout, xaxis: { visible: false }, yaxis: { visible: false } };
}

function furnished(layout, drawn, zoom, named) {
  if (named) layout.margin.r = NAMES;
  const { l, r, t, b } = layout.margin;
  const area = { width: layout.width - l - r, height: layout.height - t - b };
  const ranges = { x: zoom?.x ?? drawn.x.range, y: zoom?.y ?? drawn.y.range };
  layout.xaxis = axisLayout(drawn.x, ranges.x, area.width, true);
  layout.yaxis = axisLayout(drawn.y, ranges.y, area.height, false);
  if (drawn.better) layout.annotations.push(corner(drawn.better));
  if (named) layout.annotations.push(...endLabels(drawn.ends, ranges, area));
  if (drawn.slot) {
    const line = { color: css("--line"), width: 6 };
    layout.shapes.push({ ...atRecall(drawn.slot), line, layer: "below", opacity: 0.6 });
  }
  return layout;
}

// Draw one figure; where the data do not allow it, its place stays empty.
function draw(section, name) {
  const node = section.node.querySelector(`figure.${name}`);
  const drawn = FIGURES[name](section);
  if (!drawn) {
    Plotly.purge(node);
    node.replaceChildren();
    delete node.dataset.listens;
    return;
  }
  const width = widthOf(node),
    layout = frame(section, drawn, width);
  const named = drawn.ends && width >= (name === "tradeoff" ? WIDE : 560);
  const whole = drawn.empty
    ? nothing(layout, drawn.empty)
    : furnished(layout, drawn, section.zoom[name], named);
  Plotly.react(node, drawn.traces ?? [], whole, {
    typesetMath: false, // dollar signs are no formula
    displaylogo: false,
    doubleClick: false,
    displayModeBar: width < 600 ? false : "hover",
    modeBarButtons: [["toImage"]],
    toImageButtonOptions: { format: "svg", filename: `${section.dataset}-${name}` },
  });
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", `${drawn.title}; the tables hold the numbers`);
  if (!node.dataset.listens) listen(section, name, node);
}

function listen(section, name, node) {
  node.dataset.listens = "yes";
  node.on("plotly_click", ({ points: [{ customdata }] }) => {
    if (customdata) showRecipe(section.curves[customdata[0]], customdata[1]);
  });
  node.on("plotly_relayout", (change) => {
    if (!("xaxis.range[0]" in change) && !("yaxis.range[0]" in change)) return;
    section.zoom[name] = { x: [...node.layout.xaxis.range], y: [...node.layout.yaxis.range] };
    draw(section, name);
  });
  node.on("plotly_doubleclick", () => {
    delete section.zoom[name];
    draw(section, name);
  });
}
