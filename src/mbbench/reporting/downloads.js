// Saving a figure as SVG, PNG or CSV. Easy to get wrong: in the page a chart takes its colours from variables and its
// looks from classes; a file has neither, so the rules that it needs go with it, in light colours whatever the theme.

/** Put buttons where the links to files beside the page are. */
function downloads(figure, table) {
  const svg = figure.querySelector("svg.chart");
  const ways = {
    SVG: () => new Blob([standalone(svg)], { type: "image/svg+xml" }),
    PNG: () => png(standalone(svg)),
    CSV: () => new Blob([csv(table)], { type: "text/csv;charset=utf-8" }),
  };
  const buttons = Object.entries(ways).map(([kind, blob]) => {
    const button = make("button", { type: "button", "aria-label": `Save as ${kind}: ${figure.id}` }, kind);
    button.addEventListener("click", async () => save(await blob(), `${figure.id}.${kind.toLowerCase()}`));
    return button;
  });
  figure.querySelector(".files").replaceChildren(...buttons.slice(0, table ? 3 : 2));
}

/** Return a chart as the text of an SVG file that needs nothing of the page. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  copy.querySelectorAll(".ring").forEach((part) => part.remove());
  // Not removed: the shape of a marker stands where it was used first, and others use it from there.
  copy.querySelectorAll("[hidden]").forEach((part) => part.setAttribute("display", "none"));
  const about = ["hidden", "role", "tabindex", "data-key", "data-series", "aria-pressed", "aria-hidden", "aria-label"];
  for (const part of [copy, ...copy.querySelectorAll("*")]) about.forEach((name) => part.removeAttribute(name));
  copy.removeAttribute("class");
  copy.removeAttribute("aria-describedby");
  const { width, height } = svg.viewBox.baseVal;
  copy.setAttribute("width", `${width}pt`);
  copy.setAttribute("height", `${height}pt`);
  // Rules at the top are those of every theme and of light; the dark ones stand in @media or name the theme.
  const rules = [...document.styleSheets[0].cssRules].filter((rule) => rule instanceof CSSStyleRule);
  const values = new Map();
  for (const { style } of rules.filter((rule) => rule.selectorText === ":root")) {
    for (const name of style) values.set(name, style.getPropertyValue(name).trim());
  }
  const used = rules.filter(({ selectorText }) => /^\.[\w-]+$/.test(selectorText) && copy.querySelector(selectorText));
  const css = ["*{stroke-linejoin:round;stroke-linecap:butt}", "text{font-family:var(--font)}", ...used.map((r) => r.cssText)];
  const sheet = document.createElementNS(svg.namespaceURI, "style");
  sheet.textContent = css.join("\n").replace(/var\((--[\w-]+)\)/g, (_, name) => values.get(name));
  copy.prepend(sheet);
  return new XMLSerializer().serializeToString(copy);
}

/** Return the text of an SVG file as a PNG of twice its size on the screen, on white. */
async function png(text) {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = make("canvas", { width: 2 * image.width, height: 2 * image.height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads it after the click
}
