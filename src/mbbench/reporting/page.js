// What the page does beside being read: its theme, its frames, and an address that says what was chosen. Without the script
// everything is there but what one would have to ask for. An address is somebody else's text: it is only ever compared with
// what the page has. It reads `#s1-loss-train_s?off=32,slice;s1-throughput?table&sort=-epoch`, the frame used last first.
// A script that comes later adds a frame of its own to `further`: a function of what to call when something was chosen.

const THEMES = ["auto", "light", "dark"];
const TEXTS = ["sort", "filter", "setting", "axis"], LISTS = ["off", "linear", "x", "y"], FLAGS = ["table", "plain"];
const further = [];

/** Return an element with attributes and children; a text is a child, never HTML. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set the theme kept from an earlier visit, before anything is painted. Returns the button that changes it. */
function theme() {
  let chosen = "auto";
  const button = make("button", { type: "button", class: "theme" });
  const set = (name) => {
    chosen = THEMES.includes(name) ? name : "auto";
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.textContent = `Theme: ${chosen}`;
  };
  try {
    set(localStorage.getItem("mbbench-theme"));
  } catch {
    set("auto"); // a page from a file may be refused the storage
  }
  button.addEventListener("click", () => {
    set(THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length]);
    try {
      localStorage.setItem("mbbench-theme", chosen);
    } catch {
      // Then it holds until the page is closed.
    }
  });
  return button;
}

/** Bring a frame, or a section with nothing but a table, to life. Returns how an address reads and sets it. */
function frame(root, changed) {
  const figures = [...root.querySelectorAll("figure")].filter((figure) => figure.querySelector(".plot svg"));
  const names = figures.length ? figures.map((figure) => figure.id) : [root.id];
  const tabs = [...root.querySelectorAll(".switch input")];
  const details = root.querySelector("details");
  const off = new Set();
  const touched = () => changed(root);
  const update = () => charts.forEach((each) => each.update());
  const charts = figures.map((figure) =>
    chart(figure.querySelector(".plot"), off, () => {
      leave();
      update();
      touched();
    }),
  );
  const element = root.querySelector("table");
  const table = element && sortable(element, touched);
  figures.forEach((figure) => downloads(figure, element));
  tabs.forEach((tab) => tab.addEventListener("change", touched));
  let opened = details?.open;
  details?.addEventListener("toggle", () => {
    if (details.open === opened) return; // an address opened it
    opened = details.open;
    touched();
  });
  update();
  return {
    root,
    names,
    name: () => names[Math.max(0, tabs.findIndex((tab) => tab.checked))],
    state: () => ({ off: [...off], table: details?.open ?? false, ...table?.state }),
    restore: (name, { off: hidden = [], table: open = false, ...rest }) => {
      const tab = tabs[names.indexOf(name)];
      if (tab) tab.checked = true;
      off.clear();
      const known = new Set(charts.flatMap((each) => each.names));
      hidden.filter((each) => known.has(each)).forEach((each) => off.add(each));
      update();
      if (details) details.open = opened = open;
      table?.restore(rest);
      (figures[names.indexOf(name)] ?? root).scrollIntoView();
    },
  };
}

const encoded = (text) => encodeURIComponent(text).replaceAll("%20", "+").replaceAll("%2F", "/");
const decoded = (text) => decodeURIComponent(text.replaceAll("+", " "));

/** Return a frame's part of the address. */
function written(frame) {
  const chosen = Object.entries(frame.state()).filter(([, value]) => value && value.length !== 0);
  const parts = chosen.map(([key, value]) => (value === true ? key : `${key}=${[value].flat().map(encoded)}`));
  return frame.name() + (parts.length ? `?${parts.join("&")}` : "");
}

/** Set the frames that an address names as it says; what it names beside them is nothing to the page. */
function restore(frames, hash) {
  for (const part of hash.slice(1).split(";").reverse()) { // the last one set is scrolled to
    const [name, asked = ""] = part.split("?");
    const found = name && frames.find(({ names }) => names.includes(name));
    if (!found) continue;
    const state = {};
    for (const [key, value = ""] of asked.split("&").map((each) => each.split("="))) {
      try {
        if (LISTS.includes(key)) state[key] = value.split(",").map(decoded);
        else if (FLAGS.includes(key)) state[key] = true;
        else if (TEXTS.includes(key)) state[key] = decoded(value);
      } catch {
        // A broken "%" is nothing that this page wrote.
      }
    }
    found.restore(name, state);
  }
}

const themes = theme();

addEventListener("DOMContentLoaded", () => {
  document.querySelector("header.top > div").append(themes);
  document.body.append(tip, live);
  const frames = [];
  const changed = (root) => {
    const first = frames.find((each) => each.root === root);
    const others = frames.filter((each) => each !== first && written(each) !== each.names[0]);
    try {
      history.replaceState(null, "", `#${[first, ...others].map(written).join(";")}`);
    } catch {
      // Some browsers refuse it to a page from a file, or too often: the page is as it was asked to be all the same.
    }
  };
  frames.push(...[...document.querySelectorAll(".frame:has(figure), #failures")].map((root) => frame(root, changed)));
  frames.push(...further.map((add) => add(changed)));
  addEventListener("hashchange", () => restore(frames, location.hash));
  addEventListener("resize", follow);
  addEventListener("scroll", follow, { capture: true, passive: true });
  restore(frames, location.hash);
});
