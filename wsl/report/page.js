"use strict";
// Sorting, searching, the gallery and its large view. All text from the data is written as text.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

// ------------------------------------------------------------------------------- tables

function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
  const keyed = Array.from(body.rows, (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return [row, numeric ? (text === "" ? NaN : Number(text)) : text.toLowerCase()];
  });
  const sign = descending ? -1 : 1;
  keyed.sort(([, a], [, b]) => {
    if (!numeric) return sign * a.localeCompare(b, "en");
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // unknown: last
    return sign * (a - b);
  });
  body.append(...keyed.map(([row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th");
    const before = head.getAttribute("aria-sort");
    // numbers are first wanted from the top, names from A
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? second : first;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    sortTable(table, head.cellIndex, order === "descending");
  });
}

const normal = (text) => text.normalize("NFKD").toLowerCase();

byId("class-controls").addEventListener("submit", (event) => event.preventDefault());
byId("class-search").addEventListener("input", (event) => {
  const wanted = normal(event.target.value.trim());
  let shown = 0;
  for (const row of byId("class-table").tBodies[0].rows) {
    row.hidden = !normal(row.cells[0].textContent).includes(wanted);
    shown += !row.hidden;
  }
  byId("class-count").textContent = `${shown} ${shown === 1 ? "class" : "classes"}`;
});

// --------------------------------------------------------------------------- the pictures

const SVG = "http://www.w3.org/2000/svg";

function layer(source, className) {
  const image = element("img", className);
  image.alt = "";
  image.decoding = "async";
  image.src = source;
  return image;
}

function boxLayer(entry, run) {
  const [width, height] = entry.size;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const draw = (box, color, dashed) => {
    for (const kind of ["rim", "line"]) {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("class", kind === "line" && dashed ? "line dashed" : kind);
      rect.setAttribute("x", box[0]);
      rect.setAttribute("y", box[1]);
      rect.setAttribute("width", box[2] - box[0]);
      rect.setAttribute("height", box[3] - box[1]);
      if (kind === "line") rect.setAttribute("stroke", color);
      svg.append(rect);
    }
  };
  for (const box of entry.truth) draw(box, data.colors.true, true);
  if (run.box) draw(run.box, data.colors.predicted, false);
  return svg;
}

/** [caption, panel] of each step that the run has. */
function panels(entry, run) {
  const made = [];
  const add = (caption, ...layers) => {
    const panel = element("span", "panel");
    panel.append(...layers);
    made.push([caption, panel]);
  };
  add("image", layer(entry.image));
  if (run.saliency) add("saliency", layer(entry.image, "gray"), layer(run.saliency, "saliency"));
  if (run.seeds) add("seeds", layer(entry.image, "gray"), layer(run.seeds, "seeds"));
  if (run.mask) add("mask", layer(entry.image), layer(run.mask, "mask"));
  if ("box" in run) {
    const layers = [layer(entry.image), boxLayer(entry, run)];
    if (!run.box) layers.push(element("span", "no-box", "no box"));
    add("boxes: predicted, true (dashed)", ...layers);
  }
  return made;
}

function factsOf(run) {
  const facts = [`IoU ${run.iou.toFixed(2)}`];
  if (run.kind !== null) facts.push(data.kinds[run.kind]);
  if (run.top1_kind?.startsWith("wrong_class")) facts.push(`predicted ${run.predicted_category}`);
  if (run.other) facts.push("picture of another box than the scored one");
  if (run.quality !== null) facts.push(`quality ${run.quality.toFixed(2)}`);
  return facts;
}

function predictionOf(run) {
  if (!run.predicted_category) return "";
  const score = run.score === null ? "" : ` (${run.score.toFixed(2)})`;
  return `top-1 prediction ${run.predicted_category}${score}`;
}

// ---------------------------------------------------------------------------- the gallery

const PAGE = 24;
const controls = byId("gallery-controls");
let chosen = []; // the entries that pass the filters, in order
let shown = 0; // how many of them have a card
let shuffles = 0;
let onlyLabel = null; // set by a click on a class, whose name others may share

const chosenRun = () => Number(byId("filter-run")?.value ?? 0);

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function ordered(entries, order, run) {
  const iou = (entry) => entry.runs[run].iou;
  const change = (entry) => {
    const values = entry.runs.map((one) => one.iou);
    return Math.max(...values) - Math.min(...values);
  };
  const sorted = entries.slice();
  if (order === "worst") sorted.sort((a, b) => iou(a) - iou(b));
  if (order === "best") sorted.sort((a, b) => iou(b) - iou(a));
  if (order === "change") sorted.sort((a, b) => change(b) - change(a));
  if (order === "random") {
    const next = randomNumbers(shuffles);
    for (let last = sorted.length - 1; last > 0; last -= 1) {
      const other = Math.floor(next() * (last + 1));
      [sorted[last], sorted[other]] = [sorted[other], sorted[last]];
    }
  }
  return sorted;
}

function filterGallery() {
  const run = chosenRun();
  const kinds = Array.from(controls.querySelectorAll("[data-kind]"), (each) => [each.dataset.kind, each.value]);
  const wanted = normal(byId("filter-class").value.trim());
  const limit = (id, otherwise) => {
    const value = byId(id).valueAsNumber;
    return Number.isNaN(value) ? otherwise : value;
  };
  const low = limit("filter-low", 0);
  const high = limit("filter-high", 1);
  const passing = data.entries.filter((entry) => {
    const of = entry.runs[run];
    return (
      kinds.every(([name, kind]) => kind === "" || of[name] === kind) &&
      (onlyLabel === null || entry.label === onlyLabel) &&
      (normal(entry.name).includes(wanted) || normal(entry.id).includes(wanted)) &&
      of.iou >= low &&
      of.iou <= high
    );
  });
  chosen = ordered(passing, byId("filter-order").value, run);
  shown = 0;
  byId("cards").replaceChildren();
  byId("gallery-count").textContent = `${chosen.length} of ${data.entries.length} pictures`;
  if (!chosen.length) byId("cards").append(element("p", "empty", "No picture fits these filters."));
  showMore();
}

function resetGallery(wanted = "", label = undefined) {
  controls.reset();
  onlyLabel = label === undefined ? null : Number(label);
  byId("filter-class").value = wanted;
  filterGallery();
}

function card(entry, place) {
  const run = entry.runs[chosenRun()];
  const made = element("button", "card");
  made.type = "button";
  made.dataset.place = place;
  const strip = element("span", "panels");
  strip.append(...panels(entry, run).map(([, panel]) => panel));
  const caption = element("span", "caption");
  caption.append(element("b", "", entry.name || "no class"));
  for (const fact of factsOf(run)) caption.append(element("span", "", fact));
  caption.append(element("span", "", entry.id));
  made.append(strip, caption);
  return made;
}

function showMore() {
  const next = chosen.slice(shown, shown + PAGE);
  byId("cards").append(...next.map((entry, index) => card(entry, shown + index)));
  shown += next.length;
  const left = chosen.length - shown;
  byId("show-more").hidden = left === 0;
  byId("show-more").textContent = `Show ${Math.min(PAGE, left)} more of ${left}`;
}

// ------------------------------------------------------------------------- the large view

const dialog = byId("large");
let place = 0;
let opener = null;

function openLarge(from) {
  opener = from; // not the active element: a click does not focus a button in every browser
  drawLarge(Number(from.dataset.place));
  dialog.showModal();
  byId("large-next").focus();
}

function drawLarge(at) {
  place = Math.min(Math.max(at, 0), chosen.length - 1);
  const entry = chosen[place];
  const several = data.runs.length > 1;
  byId("large-title").textContent = entry.name || "no class";
  const facts = [entry.id, `${entry.size[0]} × ${entry.size[1]} pixels`];
  const only = entry.runs[0];
  if (!several) facts.push(...factsOf(only), predictionOf(only));
  byId("large-facts").textContent = facts.filter(Boolean).join(" · ");
  byId("large-place").textContent = `${place + 1} of ${chosen.length}`;
  // not `disabled`: a disabled button loses the focus, and the keys with it
  byId("large-previous").setAttribute("aria-disabled", place === 0);
  byId("large-next").setAttribute("aria-disabled", place === chosen.length - 1);
  const body = byId("large-body");
  body.replaceChildren();
  entry.runs.forEach((run, index) => {
    if (several) {
      const line = element("p", "of-run");
      line.append(element("b", "", data.runs[index]));
      line.append(` ${[...factsOf(run), predictionOf(run)].filter(Boolean).join(" · ")}`);
      body.append(line);
    }
    const strip = element("div", "panels");
    for (const [caption, panel] of panels(entry, run)) {
      panel.style.aspectRatio = `${entry.size[0]} / ${entry.size[1]}`;
      panel.style.display = "block";
      const figure = element("figure");
      figure.append(panel, element("figcaption", "", caption));
      strip.append(figure);
    }
    body.append(strip);
  });
}

if (controls) {
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    if (event.target.id === "filter-order" && event.target.value === "random") shuffles += 1;
    if (event.target.id === "filter-class") onlyLabel = null;
    filterGallery();
  });
  byId("filter-reset").addEventListener("click", () => resetGallery());
  byId("show-more").addEventListener("click", () => {
    const before = shown;
    showMore();
    byId("cards").children[before]?.focus();
  });
  byId("cards").addEventListener("click", (event) => {
    const found = event.target.closest(".card");
    if (found) openLarge(found);
  });
  byId("large-previous").addEventListener("click", () => drawLarge(place - 1));
  byId("large-next").addEventListener("click", () => drawLarge(place + 1));
  byId("large-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // on the backdrop
  });
  dialog.addEventListener("close", () => {
    if (opener?.isConnected) opener.focus();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: chosen.length - 1 };
    if (event.key in steps) {
      event.preventDefault();
      drawLarge(steps[event.key]);
    }
  });
  filterGallery();
}

// ------------------------------------------------------- from the tables to the pictures

document.addEventListener("click", (event) => {
  const link = event.target.closest(".to-class, .to-picture");
  if (!link || !controls) return;
  const { label, image } = link.dataset;
  resetGallery(label === undefined ? image : link.textContent, label);
});

// -------------------------------------------------------------------- where the reader is

const links = new Map(
  Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]),
);
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-20% 0px -70% 0px" },
);
for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
