// The explorer: every loss curve of the records, to zoom into. Drawn by uPlot, on what explorer.py left in the page. Easy to
// get wrong: beyond the curves there is nothing to see, and closer than their digits nothing but steps; so a view, whoever
// asks for it (buttons, a drag, an address), is kept inside what there is and above `LEAST` of it.
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
  const LEAST = 1e-3; // of the whole width, on the scale that is drawn: curves have four digits
  const off = new Set();
  let drawn = null, whole = null, view = null; // {x: [low, high], y: [low, high]}; no view: all there is
  let changed = () => {};

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const dash = (curve) => dashes[curve.dash % dashes.length];
  const chosen = () => settings[Number(controls.setting ? controls.setting.value : 0)];
  const short = (value, digits = 3) =>
    value >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
  const seconds = (value, digits = 3) => {
    const [unit, by] = value < 1e-3 ? ["µs", 1e6] : value < 1 ? ["ms", 1e3] : ["s", 1];
    return `${short(value * by, digits)} ${unit}`;
  };

  // As many digits as tell neighbours apart.
  function labels(ticks, format) {
    const known = ticks.filter((tick) => tick), apart = Math.min(...known.slice(1).map((tick, at) => tick - known[at]));
    const digits = Math.min(7, Math.max(3, Math.ceil(Math.log10(Math.max(...known) / apart)) + 1 || 3));
    const wide = known.length && known.at(-1) / known[0] > 10; // a digit each is enough
    return ticks.map((tick) => (tick === null ? "" : format(tick, wide ? 3 : digits)));
  }

  // One x for all curves, with gaps where a curve has no value: what uPlot draws from.
  function joined(setting, axis) {
    const tables = setting.curves.map((curve) => {
      const none = curve.loss.map(() => null);
      return [axis.of(curve, setting), curve.loss, curve.low || none, curve.high || none];
    });
    return uPlot.join(tables);
  }

  const logarithmic = (name) => controls[`log${name}`].checked;
  const scaled = (name) => (logarithmic(name) ? [Math.log, Math.exp] : [Number, Number]);

  // From the least to the largest of all values that are drawn, a little more of the losses.
  function extent(name, values, room) {
    const [to, back] = scaled(name), known = values.filter((value) => value !== null && Number.isFinite(to(value))).map(to);
    const least = known.reduce((one, other) => Math.min(one, other), Infinity);
    const most = known.reduce((one, other) => Math.max(one, other), -Infinity);
    if (!known.length) return [0.1, 1];
    const more = most > least ? room * (most - least) : Math.abs(least) / 10 || 0.1;
    return [back(least - more), back(most + more)];
  }

  // The range that was asked for, as far as there is anything, and no closer than its digits.
  function bounded(name, range) {
    const [to, back] = scaled(name), [least, most] = whole[name].map(to), [low, high] = range.map(to);
    if (!(low < high)) return whole[name]; // nonsense, or below 0 on a logarithmic scale
    const width = Math.min(Math.max(high - low, LEAST * (most - least)), most - least);
    const start = Math.min(Math.max((low + high - width) / 2, least), most - width);
    return width < most - least ? [back(start), back(start + width)] : whole[name];
  }

  // Show a part, or without one everything.
  function look(wanted) {
    view = wanted && { x: bounded("x", wanted.x), y: bounded("y", wanted.y) };
    if (view && view.x === whole.x && view.y === whole.y) view = null;
    for (const [name, [min, max]] of Object.entries(view ?? whole)) drawn.setScale(name, { min, max });
  }

  // Where lines stand on a logarithmic scale: at each digit, or in less than a power of ten a few round numbers.
  function splits(low, high) {
    const found = [];
    if (high / low > 10) {
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (let digit = 1; digit < 10; digit++) found.push(Number(`${digit}e${power}`));
      }
    } else {
      const size = 10 ** Math.floor(Math.log10((high - low) / 2));
      const apart = ([5, 2, 1].find((by) => (high - low) / (by * size) > 3) ?? 0.5) * size;
      for (let at = Math.ceil(low / apart); at * apart <= high; at++) found.push(Number((at * apart).toPrecision(12)));
    }
    return found.filter((at) => at >= low && at <= high);
  }

  // Of these lines the ones with a label: over many digits 1, 2 and 5, over many powers of ten their own.
  function named(found) {
    const wide = found.at(-1) / found[0];
    const digits = wide < 10 ? "1235" : wide < 300 ? "125" : "1";
    return found.map((at) => (wide < 4 || digits.includes(at.toExponential()[0]) ? at : null));
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
    const axisOf = (name) => ({
      ...{ stroke: color("mut"), grid: lines, ticks: lines },
      ...(logarithmic(name) ? { splits: (_, at, min, max) => splits(min, max), filter: (_, lines) => named(lines) } : {}),
    });
    const seen = setting.curves.filter((curve) => !off.has(curve.name)), shown = seen.length ? seen : setting.curves;
    const ends = (curve) => (controls.bands.checked && curve.low ? [...curve.low, ...curve.high] : []);
    whole = {
      x: extent("x", shown.flatMap((curve) => axis.of(curve, setting)), 0),
      y: extent("y", shown.flatMap((curve) => [...curve.loss, ...ends(curve)]), 0.03),
    };
    view = view && { x: bounded("x", view.x), y: bounded("y", view.y) };
    const scale = (name) => ({ distr: logarithmic(name) ? 3 : 1, range: () => (view ?? whole)[name] });
    if (drawn) drawn.destroy();
    drawn = new uPlot(
      {
        width: plot.clientWidth,
        height: Math.min(420, Math.max(260, plot.clientWidth * 0.5)),
        scales: { x: { time: false, ...scale("x") }, y: scale("y") },
        axes: [
          { ...axisOf("x"), label: axis.label, values: (_, ticks) => labels(ticks, format) },
          { ...axisOf("y"), label: "training loss", size: 64, values: (_, ticks) => labels(ticks, short) },
        ],
        series,
        bands,
        legend: { show: false },
        cursor: {
          drag: { x: true, y: true, uni: 20, setScale: false },
          points: { show: false },
          bind: { dblclick: () => null }, // uPlot would show all, and not say so
        },
        hooks: { setCursor: [(made) => tell(made, setting, axis, format)], setSelect: [selected] },
      },
      joined(setting, axis),
      plot,
    );
  }

  // Show what was dragged over.
  function selected({ select: { left, top, width, height } }) {
    if (width < 2 || height < 2) return;
    const at = (name, ...places) => places.map((place) => drawn.posToVal(place, name));
    look({ x: at("x", left, left + width), y: at("y", top + height, top) });
    drawn.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    changed(root);
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
          changed(root);
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
    const wanted = {};
    for (const name of factor ? ["x", "y"] : []) {
      const [to, back] = scaled(name), [low, high] = (view ?? whole)[name].map(to);
      const half = ((high - low) / 2) * factor, middle = (low + high) / 2;
      wanted[name] = [back(middle - half), back(middle + half)];
    }
    look(factor ? wanted : null);
    changed(root);
  }

  function start() {
    offer();
    draw();
  }
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", ({ target: { name } }) => {
    if (name === "setting" || name === "axis") view = null; // it was of other numbers
    name === "setting" ? start() : draw();
    changed(root);
  });
  plot.addEventListener("dblclick", () => zoom(0));
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

  const values = [...controls.axis].map((each) => each.value);
  const finite = (text) => text !== "" && Number.isFinite(Number(text));
  const numbers = (texts) => texts?.length === 2 && texts.every(finite) && texts.map(Number);
  further.push((touched) => {
    changed = touched;
    return {
      root,
      names: ["explorer"],
      name: () => "explorer",
      state: () => ({
        off: [...off],
        setting: controls.setting && controls.setting.value !== "0" && controls.setting.value,
        axis: controls.axis.value !== values[0] && controls.axis.value,
        linear: ["x", "y"].filter((name) => !logarithmic(name)),
        plain: !controls.bands.checked,
        x: (view?.x ?? []).map((end) => end.toPrecision(5)),
        y: (view?.y ?? []).map((end) => end.toPrecision(5)),
      }),
      restore: (_, { off: hidden = [], setting, axis, linear = [], plain = false, x, y }) => {
        const places = settings.map((_, place) => String(place));
        if (controls.setting) controls.setting.value = places.includes(setting) ? setting : "0";
        controls.axis.value = values.includes(axis) ? axis : values[0];
        for (const name of ["x", "y"]) controls[`log${name}`].checked = !linear.includes(name);
        controls.bands.checked = !plain;
        off.clear();
        chosen().curves.filter((curve) => hidden.includes(curve.name)).forEach((curve) => off.add(curve.name));
        view = numbers(x) && numbers(y) ? { x: numbers(x), y: numbers(y) } : null;
        if (drawn) start();
        root.scrollIntoView();
      },
    };
  });
})();
