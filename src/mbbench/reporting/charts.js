// Reading a chart by pointer, touch and keys, and switching on and off what its legend lists. Easy to get wrong: a chart in
// a tab that is not shown has no size, so where things are on the screen is asked for only when somebody points there.

const REACH = 30; // pixels from pointer to point: a finger covers about 40
const tip = make("div", { class: "tip", hidden: "", "aria-hidden": true });
const live = make("p", { class: "sr", "aria-live": "polite" });
let marked = null; // the ring that shows, in whichever chart

/** Make the points of a chart readable; `off` holds the names that its frame does not show. Returns what redraws it. */
function chart(plot, off, changed) {
  const svg = plot.querySelector("svg");
  const readings = plot.querySelector("script"); // left out where the page was too large
  const { title, keys: names, series } = readings ? JSON.parse(readings.textContent) : { keys: [], series: [] };
  for (const part of svg.querySelectorAll("[data-key]")) names[part.dataset.key] ||= part.textContent.trim();
  const update = legend(svg, names, off, changed);
  if (series.length) {
    reading(plot, svg, series.map(({ keys, points }) => ({
      names: keys.map((key) => names[key]),
      label: `${title} ${keys.map((key) => names[key]).join(", ")}`.trim(),
      points: points.map(([x, y, words]) => ({ x, y, words })).sort((a, b) => a.x - b.x),
    })), off);
  }
  return { names, update };
}

function reading(plot, svg, every, off) {
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", 6);
  ring.toggleAttribute("hidden", true);
  svg.append(ring);
  plot.tabIndex = 0;
  // An application, since a screen reader keeps the arrow keys to itself elsewhere.
  const about = { role: "application", "aria-roledescription": "chart" };
  about["aria-label"] = `${svg.getAttribute("aria-label")}: arrow keys read the points`;
  for (const [name, value] of Object.entries(about)) plot.setAttribute(name, value);
  let read = null; // [series, point], from which the keys go on

  const shown = () => every.filter(({ names }) => !names.some((name) => off.has(name)));
  const mark = (found) => {
    leave();
    read = found;
    if (!found) return;
    const [{ label }, { x, y, words }] = found;
    marked = ring;
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    ring.toggleAttribute("hidden", false);
    tip.replaceChildren(make("b", {}, label), make("span", {}, words));
    follow();
  };
  const point = (event) => {
    const screen = svg.getScreenCTM();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(screen.inverse());
    const away = ([, { x, y }]) => Math.hypot(x - at.x, y - at.y);
    const all = shown().flatMap((one) => one.points.map((each) => [one, each]));
    const nearest = all.reduce((best, each) => (best && away(best) <= away(each) ? best : each), null);
    mark(nearest && away(nearest) * screen.a < REACH ? nearest : null);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point); // a tap does not move
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  plot.addEventListener("blur", () => leave());
  plot.addEventListener("keydown", (event) => {
    if (event.target !== plot || event.ctrlKey || event.altKey || event.metaKey) return;
    const next = step(event.key, shown(), read);
    if (next === undefined) return;
    event.preventDefault(); // the page would scroll
    mark(next);
    live.textContent = next ? `${next[0].label}: ${next[1].words}` : "";
  });
}

/** Return where a key leads from a reading, null away from all of them, undefined if it leads nowhere. */
function step(key, all, read) {
  if (key === "Escape") return null;
  if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key) || !all.length) return undefined;
  const [one, at] = all.includes(read?.[0]) ? read : [all[0], null];
  const { points } = one;
  const place = points.indexOf(at);
  if (key === "Home" || (!at && key !== "End")) return [one, points[0]];
  if (key === "End") return [one, points.at(-1)];
  if (key === "ArrowLeft" || key === "ArrowRight") {
    return [one, points[Math.min(Math.max(place + (key === "ArrowRight" ? 1 : -1), 0), points.length - 1)]];
  }
  const other = all.at((all.indexOf(one) + (key === "ArrowDown" ? 1 : -1)) % all.length);
  return [other, other.points.reduce((best, each) => (Math.abs(each.x - at.x) < Math.abs(best.x - at.x) ? each : best))];
}

/** Take the mark away, wherever it is. */
function leave() {
  tip.hidden = true;
  marked?.toggleAttribute("hidden", true);
  marked = null;
}

/** Put the tip above what is marked, below it where there is no room, and never over an edge. */
function follow() {
  if (!marked) return;
  const { clientWidth, clientHeight } = document.documentElement;
  const box = marked.getBoundingClientRect();
  tip.hidden = box.bottom < 0 || box.top > clientHeight; // scrolled away
  const { width, height } = tip.getBoundingClientRect();
  const within = (value, most) => Math.max(6, Math.min(value, most - 6));
  const left = within(box.left + box.width / 2 - width / 2, clientWidth - width);
  const top = box.top - height - 8 < 6 ? box.bottom + 8 : box.top - height - 8;
  Object.assign(tip.style, { left: `${left}px`, top: `${within(top, clientHeight - height)}px` });
}

/** Make the entries of a chart's legend switches. Returns what shows and hides by them. */
function legend(svg, names, off, changed) {
  const entries = new Map(); // name: its parts, the text first
  for (const part of svg.querySelectorAll("[data-key]")) {
    const parts = entries.get(names[part.dataset.key]) ?? [];
    entries.set(names[part.dataset.key], part.querySelector("text") ? [part, ...parts] : [...parts, part]);
  }
  const drawn = [...svg.querySelectorAll("[data-series]")].map((part) => {
    return { part, keys: part.dataset.series.split(" ").map((key) => names[key]) };
  });
  const toggle = (name) => {
    if (!off.delete(name)) off.add(name);
    changed();
  };
  const isolate = (name) => {
    // A line may need two entries, a batch size and a loader: those that share something drawn with this one stay.
    const kept = new Set([name, ...drawn.filter(({ keys }) => keys.includes(name)).flatMap(({ keys }) => keys)]);
    const others = [...entries.keys()].filter((each) => !kept.has(each));
    const alone = others.every((each) => off.has(each));
    for (const each of entries.keys()) off.delete(each);
    if (!alone) others.forEach((each) => off.add(each));
    changed();
  };
  const at = ({ clientX, clientY, target }) => {
    const inside = (part) => {
      const box = part.getBoundingClientRect();
      return clientX > box.left - 5 && clientX < box.right + 5 && clientY > box.top - 3 && clientY < box.bottom + 3;
    };
    return [...entries.keys()].find((name) => entries.get(name).some((part) => part.contains(target) || inside(part)));
  };
  svg.addEventListener("click", (event) => at(event) && toggle(at(event)));
  svg.addEventListener("dblclick", (event) => at(event) && isolate(at(event))); // its two clicks made up for each other
  for (const [name, [button, ...others]] of entries) {
    for (const [key, value] of Object.entries({ role: "button", tabindex: 0, "aria-label": name })) {
      button.setAttribute(key, value);
    }
    others.forEach((part) => part.setAttribute("aria-hidden", true));
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle(name);
    });
  }
  if (entries.size) {
    svg.setAttribute("role", "group"); // what is in an image is not there for a screen reader
    for (const part of svg.querySelectorAll(":scope > g > g")) {
      if (!part.querySelector("[data-key]")) part.setAttribute("aria-hidden", true);
    }
  }
  return () => {
    for (const [name, parts] of entries) {
      parts[0].setAttribute("aria-pressed", !off.has(name));
      parts.forEach((part) => part.classList.toggle("off", off.has(name)));
    }
    for (const { part, keys } of drawn) part.toggleAttribute("hidden", keys.some((name) => off.has(name)));
  };
}
