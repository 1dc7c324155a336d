// Sorting and filtering tables. Easy to get wrong: cells are text for people, so a number has to be found in "1.23 ms",
// "full (1,438)" or "at least 5 MiB" before it can be compared; and what is not known stands last, whichever way.

const FEW = 6; // rows that need no filter
const SCALE = {
  ...{ ns: 1e-9, us: 1e-6, µs: 1e-6, μs: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600 },
  ...{ B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 },
  ...{ thousand: 1e3, million: 1e6, billion: 1e9 },
};

/** Return the number that a cell begins with, in the unit that its column shares; undefined where it is text. */
function amount(text) {
  const found = /^(?:full \(|at least )?([-+−]?[\d,]*\.?\d+(?:e[-+]?\d+)?)(?:\s*([a-zµμ]+))?/i.exec(text);
  return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) * (SCALE[found[2]] ?? 1) : undefined;
}

/** Compare two cells: numbers before text, text by its own numbers, empty last; `way` is 1 up or -1 down. */
function compare(a, b, way) {
  const [x, y] = [amount(a), amount(b)];
  const kind = (text, number) => (text ? (number === undefined ? 1 : 0) : 2);
  if (kind(a, x) !== kind(b, y)) return kind(a, x) - kind(b, y);
  return way * (x === undefined ? a.localeCompare(b, "en", { numeric: true }) : x - y);
}

/** Make a table's heads sort it and give a long one a filter. Returns its state and what sets it. */
function sortable(table, changed) {
  const [body] = table.tBodies;
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent);
  const cells = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent.trim())]));
  const state = { sort: "", filter: "" }; // sort: a head, "-" before it for down
  const field = make("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the rows of this table" });
  const said = make("output");
  const update = () => {
    const way = state.sort.startsWith("-") ? -1 : 1;
    const column = names.indexOf(way < 0 ? state.sort.slice(1) : state.sort);
    const order = (a, b) => compare(cells.get(a)[column], cells.get(b)[column], way);
    body.append(...(column < 0 ? rows : [...rows].sort(order)));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column]?.setAttribute("aria-sort", way < 0 ? "descending" : "ascending");
    const words = state.filter.toLowerCase().split(/\s+/);
    for (const [row, texts] of cells) {
      const text = texts.join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    if (field.value !== state.filter) field.value = state.filter;
    said.textContent = state.filter.trim() ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  };
  const set = (part) => {
    Object.assign(state, part);
    update();
  };
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, names[column]);
    button.addEventListener("click", () => {
      const [up, down] = [names[column], `-${names[column]}`];
      set({ sort: state.sort === up ? down : state.sort === down ? "" : up }); // the third click restores the order
      changed();
    });
    head.replaceChildren(button);
  });
  if (rows.length > FEW) {
    field.addEventListener("input", () => {
      set({ filter: field.value });
      changed();
    });
    table.parentElement.before(make("p", { class: "filter" }, field, said));
  }
  // What an address asks for counts only if the table has it.
  const restore = ({ sort = "", filter = "" }) =>
    set({ sort: names.includes(sort.replace(/^-/, "")) ? sort : "", filter: rows.length > FEW ? filter : "" });
  return { state, restore };
}

/** Return a table as CSV, every row in its order on the page. */
function csv(table) {
  const field = (text) => {
    // A spreadsheet would run what looks like a formula; a change, "+1.2 %", alone or as an interval, is none.
    const formula = /^[=+@\t]|^-(?![\d.])/.test(text) && !/^\+[\d.]+ %(?: to [-+][\d.]+ %)?$/.test(text);
    const safe = formula ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const line = (row) => [...row.cells].map((cell) => field(cell.textContent.trim())).join(",");
  return [...table.rows].map((row) => `${line(row)}\r\n`).join("");
}
