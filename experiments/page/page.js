// The page: its sections and what they remember, the controls, the theme.

const DATA = JSON.parse(document.getElementById("data").textContent);
const DRAWN = Object.keys(FIGURES);

function begin(section) {
  section.node = document.getElementById(section.name);
  section.zoom = {};
  const has = (key) => section.curves.some((curve) => numbersOf(curve, key).some(isKnown));
  const ks = [10, 5, 1].filter((k) => has(`recall_at_${k}`));
  const views = Object.keys(VIEWS)
    .filter(has)
    .filter((key) => key !== "qps" || section.threads > 1 || !has("qps_1thread"));
  section.state = {
    hidden: new Set(),
    k: ks[0],
    view: views.includes(p50Of(section)) ? p50Of(section) : views[0],
    intervals: true,
    beaten: true,
    recall: DATA.targets[1],
    rank: p50Of(section),
  };
  options(
    section,
    ".k",
    ks.map((k) => [k, `recall@${k}`]),
    (value) => {
      section.state.k = Number(value);
    },
  );
  options(
    section,
    ".view",
    views.map((key) => [key, viewName(section, key)]),
    (value) => {
      section.state.view = value;
    },
    section.state.view,
  );
  for (const name of ["intervals", "beaten"]) {
    section.node.querySelector(`.${name}`).addEventListener("change", (event) => {
      section.state[name] = event.target.checked;
      draw(section, "tradeoff");
    });
  }
  slider(section);
  const details = section.node.querySelector("details.points");
  details.addEventListener("toggle", () => details.open && everyPoint(section));
}

const viewName = (section, key) =>
  key === "qps"
    ? `throughput, ${section.threads} thread${section.threads > 1 ? "s" : ""}`
    : VIEWS[key].name;

function options(section, query, choices, choose, chosen = choices[0]?.[0]) {
  const select = section.node.querySelector(query);
  select.append(...choices.map(([value, name]) => element("option", { value, textContent: name })));
  select.value = chosen;
  select.addEventListener("change", () => {
    choose(select.value);
    delete section.zoom.tradeoff;
    draw(section, "tradeoff");
  });
}

// The slider runs by the nines of recall, as the axis does.
function slider(section) {
  const input = section.node.querySelector(".slider input");
  const recalls = section.curves
    .flatMap((curve) => numbersOf(curve, "recall_at_10"))
    .filter(isKnown);
  const nines = recalls.filter((recall) => recall < 1).map((recall) => -Math.log10(1 - recall));
  input.min = Math.min(0.3, ...nines).toFixed(2);
  input.max = Math.max(2, ...nines).toFixed(2);
  let soon;
  input.addEventListener("input", () => {
    const nine = Number(input.value);
    section.state.recall = +(1 - 10 ** -nine).toFixed(Math.floor(nine) + 2);
    atSlider(section);
    clearTimeout(soon); // figures take longer to draw than the thumb to move
    soon = setTimeout(() => drawAll(section), 80);
  });
  const stops = DATA.targets.map((recall) => {
    const stop = element("button", { type: "button", textContent: recall.toFixed(2) });
    stop.addEventListener("click", () => {
      input.value = -Math.log10(1 - recall);
      section.state.recall = recall;
      show(section);
    });
    return stop;
  });
  section.node.querySelector(".stops").append(...stops);
  input.value = -Math.log10(1 - section.state.recall);
}

function atSlider(section) {
  const { recall } = section.state;
  section.node.querySelector("output").textContent = recall;
  section.node.querySelector(".slider input").setAttribute("aria-valuetext", `recall ${recall}`);
  ranking(section);
}

function drawAll(section) {
  for (const name of DRAWN) draw(section, name);
}

// A button for each curve, which hides it everywhere or shows it again.
function chips(section) {
  const { hidden } = section.state;
  const buttons = section.curves.map((curve) => {
    const chip = element(
      "button",
      { type: "button", className: curve.look.ours ? "ours" : "" },
      swatch(curve),
      curve.label,
    );
    chip.dataset.curve = curve.label;
    chip.setAttribute("aria-pressed", String(!hidden.has(curve.label)));
    chip.addEventListener("click", () => {
      if (!hidden.delete(curve.label)) hidden.add(curve.label);
      show(section);
    });
    return chip;
  });
  const sets = [
    ["all", () => true],
    ["none", () => false],
    ["ours", (curve) => curve.look.ours],
  ].map(([name, keep]) => {
    const button = element("button", { type: "button", className: "all", textContent: name });
    button.addEventListener("click", () => {
      hidden.clear();
      for (const curve of section.curves) if (!keep(curve)) hidden.add(curve.label);
      show(section);
    });
    return button;
  });
  const focused = document.activeElement?.dataset?.curve;
  const bar = section.node.querySelector(".chips");
  bar.replaceChildren(...buttons, ...sets);
  if (focused) buttons.find((button) => button.dataset.curve === focused)?.focus();
}

function show(section) {
  chips(section);
  atSlider(section);
  drawAll(section);
}

function showAll() {
  for (const section of DATA.sections) show(section);
}

function showRecipe(curve, i) {
  const point = curve.points[i],
    dialog = document.getElementById("recipe");
  const put = (query, text) => {
    dialog.querySelector(query).textContent = text;
    dialog.querySelector(query).hidden = !text;
  };
  put("#recipe-title", `${curve.label}: ${point.search || "one setting"}`);
  const { recall_at_10: recall } = point.numbers;
  const p50 = LATENCIES.find((name) => name.endsWith("p50") && isKnown(point.numbers[`${name}_us`]));
  put(
    ".measured",
    [
      point.build,
      isKnown(recall) && `recall@10 ${recallWords(recall)}`,
      p50 && `${called(p50)} ${time(point.numbers[`${p50}_us`])}`,
    ]
      .filter(Boolean)
      .join(" · "),
  );
  put("pre.commands", point.commands);
  put("pre.config", point.config);
  dialog.querySelector(".config-head").hidden = !point.config;
  dialog.showModal();
}

async function copy(button) {
  const text = document.querySelector(`#recipe pre.${button.dataset.copies}`);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(text); // for the reader's own keys
    button.textContent = "selected";
  }
  setTimeout(() => {
    button.textContent = "copy";
  }, 1500);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = theme === "dark" ? "light" : "dark";
  button.setAttribute("aria-pressed", String(theme === "dark"));
  showAll();
}

function main() {
  DATA.sections.forEach(begin);
  const system = matchMedia("(prefers-color-scheme: dark)");
  setTheme(system.matches ? "dark" : "light");
  system.addEventListener("change", () => setTheme(system.matches ? "dark" : "light"));
  document
    .getElementById("theme")
    .addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  for (const button of document.querySelectorAll("[data-copies]"))
    button.addEventListener("click", () => copy(button));
  let width = innerWidth,
    soon;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar, hiding
    width = innerWidth;
    clearTimeout(soon);
    soon = setTimeout(showAll, 150);
  });
  let before;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    printing = true;
    setTheme("light");
  });
  addEventListener("afterprint", () => {
    printing = false;
    setTheme(before);
  });
}

main();
