// The explorer: every loss curve of the records, to zoom into. Drawn by uPlot, on what explorer.py left in the page.
"use strict";
(() => {
  const root = document.getElementById("explorer");
  const settings = JSON.parse(root.querySelector("script").textContent);
  for (const { curves } of settings) {
    for (const [place, curve] of curves.entries()) {
      if ("like" in curve) curves[place] = { ...curves[curve.like], ...curve };
    }
  }
  const plot = root.querySelector(".uplots"), list = root.querySelector(".curves"), said = root.querySelector("output");
  const controls = root.querySelector("form");
  const dashes = [[], [6, 3], [2, 2], [8, 2, 2, 2], [8, 2, 2, 2, 2, 2]];
  const axes = {
    epoch: { label: "epochs", of: (curve) => curve.step.map((step) => step / curve.steps_per_epoch) },
    step: { label: "updates", of: (curve) => curve.step },
    samples: {
      label: "samples seen",
      of: (curve, setting) => curve.step.map((step) => (step / curve.steps_per_epoch) * setting.rows),
    },
    train_s: { label: "training time (evaluations excluded)", of: (curve) => curve.train_s },
  };
  const off = new Set();
  let drawn = null;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const dash = (curve) => dashes[curve.dash % dashes.length];
  const chosen = () => settings[Number(controls.setting ? controls.setting.value : 0)];
  const short = (value) => (value >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
  const seconds = (value) => {
    const [unit, by] = value < 1e-3 ? ["µs", 1e6] : value < 1 ? ["ms", 1e3] : ["s", 1];
    return `${short(value * by)} ${unit}`;
  };

  // One x for all curves, with gaps where a curve has no value: what uPlot draws from.
  function joined(setting, axis) {
    const tables = setting.curves.map((curve) => {
      const none = curve.loss.map(() => null);
      return [axis.of(curve, setting), curve.loss, curve.low || none, curve.high || none];
    });
    return uPlot.join(tables);
  }

  function draw() {
    const setting = chosen(), axis = axes[controls.axis.value], format = controls.axis.value === "train_s" ? seconds : short;
    const series = [{ label: axis.label }], bands = [];
    setting.curves.forEach((curve, number) => {
      const show = !off.has(curve.name), stroke = color(curve.color), at = series.length;
      series.push({ label: curve.name, show, stroke, width: 1.6, dash: dash(curve), spanGaps: true });
      for (const end of ["low", "high"]) {
        series.push({ label: `${curve.name} ${end}`, show: show && controls.bands.checked, spanGaps: true, points: { show: false } });
      }
      // The opacity is said twice in hexadecimal: canvas colours have no other way to be half transparent.
      if (curve.low && controls.bands.checked && show) bands.push({ series: [at + 2, at + 1], fill: `${stroke}26` });
    });
    // Over many decades a log scale has lines for each digit: those of the powers of ten are enough.
    const filter = (_, splits) => splits.map((at) => (splits.length > 24 && Math.log10(at) % 1 ? null : at));
    const lines = { stroke: color("grid"), width: 1, filter };
    const look = { stroke: color("mut"), grid: lines, ticks: lines };
    if (drawn) drawn.destroy();
    drawn = new uPlot(
      {
        width: plot.clientWidth,
        height: Math.min(420, Math.max(260, plot.clientWidth * 0.5)),
        scales: { x: { time: false, distr: controls.logx.checked ? 3 : 1 }, y: { distr: controls.logy.checked ? 3 : 1 } },
        axes: [
          { ...look, label: axis.label, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick))) },
          { ...look, label: "training loss", size: 64, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) },
        ],
        series,
        bands,
        legend: { show: false },
        cursor: { drag: { x: true, y: true, uni: 20 }, points: { show: false } },
        hooks: { setCursor: [(shown) => tell(shown, setting, axis, format)] },
      },
      joined(setting, axis),
      plot,
    );
  }

  // Say each curve's loss where the pointer is, from its nearest position.
  function tell(shown, setting, axis, format) {
    const { left } = shown.cursor;
    const at = left >= 0 ? shown.posToVal(left, "x") : null;
    said.textContent = at === null ? "" : `at ${format(at)}${axis.label.startsWith("training") ? "" : ` ${axis.label}`}`;
    setting.curves.forEach((curve, number) => {
      const x = axis.of(curve, setting), place = list.children[number].querySelector("span");
      const inside = at !== null && at >= x[0] && at <= x[x.length - 1];
      const next = inside ? Math.max(0, x.findIndex((value) => value >= at)) : -1;
      place.textContent = inside ? short(curve.loss[next]) : "";
    });
  }

  // A dash as a background: colour and nothing in turn.
  function striped(ink, lengths) {
    let at = 0;
    const stops = lengths.map((length, part) => `${part % 2 ? "transparent" : ink} ${at}px ${(at += length)}px`);
    return stops.length ? `repeating-linear-gradient(90deg, ${stops.join(", ")})` : ink;
  }

  // A box for each curve, in its colour.
  function offer() {
    list.replaceChildren(
      ...chosen().curves.map((curve) => {
        const label = document.createElement("label"), box = document.createElement("input");
        box.type = "checkbox";
        box.checked = !off.has(curve.name);
        box.style.accentColor = color(curve.color);
        box.addEventListener("change", () => {
          box.checked ? off.delete(curve.name) : off.add(curve.name);
          draw();
        });
        const mark = document.createElement("i");
        mark.style.background = striped(color(curve.color), dash(curve));
        label.append(box, mark, ` ${curve.name} `, document.createElement("span"));
        return label;
      }),
    );
  }

  // Zoom by a factor about the middle of what is shown, on the scale that is drawn; without one, show everything.
  function zoom(factor) {
    if (!factor) return drawn.setData(drawn.data);
    for (const [name, logarithmic] of [["x", controls.logx.checked], ["y", controls.logy.checked]]) {
      const to = logarithmic ? Math.log : Number, back = logarithmic ? Math.exp : Number;
      const low = to(drawn.scales[name].min), high = to(drawn.scales[name].max);
      const half = ((high - low) / 2) * factor, middle = (low + high) / 2;
      drawn.setScale(name, { min: back(middle - half), max: back(middle + half) });
    }
  }

  function start() {
    offer();
    draw();
  }
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", (event) => (event.target.name === "setting" ? start() : draw()));
  for (const button of root.querySelectorAll("button[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  new ResizeObserver(() => drawn && drawn.width !== plot.clientWidth && draw()).observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", start);
  new MutationObserver(start).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  // It is drawn when it comes near: a page of many settings is to be there at once.
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    root.querySelector(".loading").hidden = true;
    controls.hidden = false;
    start();
  }, { rootMargin: "400px" });
  seen.observe(root);
})();
