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

function boxLayer(picture, layers) {
  const [width, height] = picture.size;
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
  for (const box of picture.truth) draw(box, data.colors.true, true);
  if (layers.box) draw(layers.box, data.colors.predicted, false);
  return svg;
}

function makePanel(...layers) {
  const panel = element("span", "panel");
  panel.append(...layers);
  return panel;
}

/** [caption, panel] of each step that a run has of an image. */
function stepPanels(picture, index) {
  const { image, runs } = picture;
  const layers = runs[index];
  const made = [["image", makePanel(layer(image))]];
  if (layers.saliency) {
    made.push(["saliency", makePanel(layer(image, "gray"), layer(layers.saliency, "saliency"))]);
  }
  if (layers.seeds) made.push(["seeds", makePanel(layer(image, "gray"), layer(layers.seeds, "seeds"))]);
  if (layers.mask) made.push(["mask", makePanel(layer(image), layer(layers.mask, "mask"))]);
  if ("box" in layers) made.push(["boxes: predicted, true (dashed)", boxPanel(picture, layers)]);
  return made;
}

function boxPanel(picture, layers, withMask = false) {
  const all = [layer(picture.image)];
  if (withMask && layers.mask) all.push(layer(layers.mask, "mask"));
  all.push(boxLayer(picture, layers));
  if (!layers.box) all.push(element("span", "no-box", "no box"));
  return makePanel(...all);
}

/** A run's color, as beside its name in the tables. */
function swatch(index) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `swatch run-${index}`);
  svg.setAttribute("viewBox", "0 0 10 10");
  const rect = document.createElementNS(SVG, "rect");
  for (const [name, value] of [["width", 10], ["height", 10], ["rx", 2]]) rect.setAttribute(name, value);
  svg.append(rect);
  return svg;
}

// -------------------------------------------------------------------------- the images

const several = data.runs.length > 1;
const { ids, labels, names, runs: columns } = data.images;
/** One object per image; what a run knows of it is looked up by `of`. */
const entries = ids.map((id, at) => {
  const label = labels?.[at] ?? null;
  return { at, id, label, name: names[label] ?? "", picture: data.pictures[id] ?? null };
});
const of = (entry, run, name) => columns[run][name]?.[entry.at] ?? null;
const iouOf = (entry, run) => columns[run].iou[entry.at];
const percentPoints = (value) => {
  const text = Math.abs(100 * value).toFixed(0);
  return text === "0" ? "±0" : `${value > 0 ? "+" : "−"}${text}`;
};

function factsOf(entry, run) {
  const facts = [`IoU ${iouOf(entry, run).toFixed(2)}`];
  const kind = of(entry, run, "kind");
  if (kind !== null) facts.push(data.kinds[kind]);
  if (of(entry, run, "top1_kind")?.startsWith("wrong_class")) facts.push(`predicted ${predictedOf(entry, run)}`);
  if (entry.picture?.runs[run].other) facts.push("picture of another box than the scored one");
  const quality = of(entry, run, "quality");
  if (quality !== null) facts.push(`quality ${quality.toFixed(2)}`);
  return facts;
}

const predictedOf = (entry, run) => names[of(entry, run, "predicted")] ?? "";

function predictionOf(entry, run) {
  const predicted = predictedOf(entry, run);
  const score = of(entry, run, "score");
  return predicted && `top-1 prediction ${predicted}${score === null ? "" : ` (${score.toFixed(2)})`}`;
}

// ---------------------------------------------------------------------------- the gallery

const PAGE = 24;
const controls = byId("gallery-controls");
const fields = controls?.elements;
let chosen = []; // the entries that pass the filters, in order
let shown = 0; // how many of them have a card
let shuffles = 0;
/** Filters that no field shows: a class or a predicted class by its label, an opened image. */
let hidden = { label: null, predicted: null };

/** The filters as texts by name, without those that are as they are at first. */
function filterState() {
  const state = {};
  for (const field of fields) {
    if (!field.name) continue;
    if (field.type === "checkbox") {
      if (field.checked !== field.defaultChecked) state[field.name] = field.checked ? "1" : "0";
    } else if (field.value !== firstValue(field)) state[field.name] = field.value;
  }
  for (const [name, value] of Object.entries(hidden)) if (value !== null) state[name] = String(value);
  return state;
}

function firstValue(field) {
  if (field.tagName !== "SELECT") return field.defaultValue;
  return (Array.from(field.options).find((option) => option.defaultSelected) ?? field.options[0]).value;
}

function readState(state) {
  controls.reset();
  hidden = { label: null, predicted: null };
  for (const [name, value] of state) {
    const field = fields[name];
    if (name in hidden) hidden[name] = Number(value);
    else if (field?.type === "checkbox") field.checked = value === "1";
    else if (field?.name) field.value = value;
  }
}

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

const chosenRun = () => Number(fields.run?.value ?? 0);
const otherRun = () => Number(fields.against?.value ?? 0);
const gainOf = (entry) => iouOf(entry, chosenRun()) - iouOf(entry, otherRun());

function ordered(found, order) {
  const run = chosenRun();
  const quality = (entry) => of(entry, run, "quality") ?? (order === "quality" ? -1 : 2);
  const change = (entry) => {
    const values = data.runs.map((_, index) => iouOf(entry, index));
    return Math.max(...values) - Math.min(...values);
  };
  const keys = {
    worst: (entry) => iouOf(entry, run),
    best: (entry) => -iouOf(entry, run),
    change: (entry) => -change(entry),
    gain: (entry) => -gainOf(entry),
    loss: gainOf,
    quality: (entry) => -quality(entry),
    doubt: quality,
  };
  if (order in keys) {
    const keyed = found.map((entry) => [keys[order](entry), entry]);
    return keyed.sort(([a], [b]) => a - b).map(([, entry]) => entry);
  }
  const sorted = found.slice();
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
  const wanted = normal(fields.search.value.trim());
  const limit = (field, otherwise) => (Number.isNaN(field.valueAsNumber) ? otherwise : field.valueAsNumber);
  const low = limit(fields.from, 0);
  const high = limit(fields.to, 1);
  const drawn = fields.drawn?.checked ?? false;
  const passing = entries.filter(
    (entry) =>
      (!drawn || entry.picture) &&
      kinds.every(([name, kind]) => kind === "" || of(entry, run, name) === kind) &&
      (hidden.label === null || entry.label === hidden.label) &&
      (hidden.predicted === null || of(entry, run, "predicted") === hidden.predicted) &&
      (!wanted || normal(entry.name).includes(wanted) || normal(entry.id).includes(wanted)) &&
      iouOf(entry, run) >= low &&
      iouOf(entry, run) <= high,
  );
  chosen = ordered(passing, fields.order.value);
  shown = 0;
  byId("cards").replaceChildren();
  byId("gallery-count").textContent = `${chosen.length} of ${entries.length} images`;
  const classes = [];
  if (hidden.label !== null) classes.push(`class ${names[hidden.label] ?? hidden.label}`);
  if (hidden.predicted !== null) classes.push(`taken for ${names[hidden.predicted] ?? hidden.predicted}`);
  byId("chosen-class").hidden = !classes.length;
  byId("chosen-class").firstElementChild.textContent = classes.join(", ");
  if (!chosen.length) byId("cards").append(element("p", "empty", "No image fits these filters."));
  showMore();
}

/** Write the filters into the address, so that the view can be linked to. */
function noteState(image = null) {
  const query = new URLSearchParams(filterState());
  if (image !== null) query.set("image", image);
  const text = query.toString();
  history.replaceState(null, "", text ? `#gallery?${text}` : "#gallery");
}

/** Show what the address says, if it is one of the gallery's. */
function followAddress() {
  const [, query] = location.hash.split(/^#gallery\?/);
  if (query === undefined) return;
  const state = new URLSearchParams(query);
  const image = state.get("image");
  state.delete("image");
  readState(state);
  filterGallery();
  byId("gallery").scrollIntoView();
  const at = chosen.findIndex((entry) => entry.id === image);
  if (at >= 0) openLarge(at, null);
}

function card(entry, place) {
  const made = element("button", several ? "card compared" : "card");
  made.type = "button";
  made.dataset.place = place;
  const { picture } = entry;
  if (picture && several) {
    const strip = element("span", "panels");
    strip.style.setProperty("--count", data.runs.length + 1);
    const column = (caption, panel) => {
      const figure = element("span", "column");
      figure.append(panel, caption);
      strip.append(figure);
    };
    column(element("span", "of-run", "image"), makePanel(layer(picture.image), boxLayer(picture, {})));
    data.runs.forEach((_, index) => {
      const caption = element("span", "of-run");
      caption.append(swatch(index), ` ${iouOf(entry, index).toFixed(2)}`);
      column(caption, boxPanel(picture, picture.runs[index], true));
    });
    made.append(strip);
  } else if (picture) {
    const strip = element("span", "panels");
    strip.append(...stepPanels(picture, 0).map(([, panel]) => panel));
    made.append(strip);
  }
  const caption = element("span", "caption");
  caption.append(element("b", "", entry.name || "no class"));
  for (const fact of factsOf(entry, chosenRun())) caption.append(element("span", "", fact));
  if (several) caption.append(element("span", "", `gain ${percentPoints(gainOf(entry))} points`));
  if (!picture) caption.append(element("span", "", "without a picture"));
  caption.append(element("span", "", entry.id));
  made.append(caption);
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

function saveIds() {
  const address = URL.createObjectURL(new Blob([chosen.map((entry) => `${entry.id}\n`).join("")]));
  const link = element("a");
  link.href = address;
  link.download = "ids.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address));
}

// ------------------------------------------------------------------------- the large view

const dialog = byId("large");
let place = 0;
let opener = null;

function openLarge(at, from) {
  opener = from; // not the active element: a click does not focus a button in every browser
  drawLarge(at);
  if (!dialog.open) dialog.showModal();
  byId("large-next").focus();
}

function drawLarge(at) {
  place = Math.min(Math.max(at, 0), chosen.length - 1);
  const entry = chosen[place];
  const { picture } = entry;
  byId("large-title").textContent = entry.name || "no class";
  const facts = [entry.id];
  if (picture) facts.push(`${picture.size[0]} × ${picture.size[1]} pixels`);
  if (!several) facts.push(...factsOf(entry, 0), predictionOf(entry, 0));
  byId("large-facts").textContent = facts.filter(Boolean).join(" · ");
  byId("large-place").textContent = `${place + 1} of ${chosen.length}`;
  // not `disabled`: a disabled button loses the focus, and the keys with it
  byId("large-previous").setAttribute("aria-disabled", place === 0);
  byId("large-next").setAttribute("aria-disabled", place === chosen.length - 1);
  const body = byId("large-body");
  body.replaceChildren();
  data.runs.forEach((name, index) => {
    if (several) {
      const line = element("p", "of-run");
      line.append(swatch(index), " ", element("b", "", name));
      line.append(` ${[...factsOf(entry, index), predictionOf(entry, index)].filter(Boolean).join(" · ")}`);
      body.append(line);
    }
    if (!picture) return;
    const strip = element("div", "panels");
    for (const [caption, panel] of stepPanels(picture, index)) {
      panel.style.aspectRatio = `${picture.size[0]} / ${picture.size[1]}`;
      panel.style.display = "block";
      const figure = element("figure");
      figure.append(panel, element("figcaption", "", caption));
      strip.append(figure);
    }
    body.append(strip);
  });
  if (!picture) body.append(element("p", "note", "This image has no picture in the report."));
  noteState(entry.id);
}

if (controls) {
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    if (event.target === fields.order && event.target.value === "random") shuffles += 1;
    filterGallery();
    noteState();
  });
  byId("filter-reset").addEventListener("click", () => {
    readState([]);
    filterGallery();
    noteState();
  });
  byId("chosen-class").addEventListener("click", (event) => {
    if (event.target.tagName !== "BUTTON") return;
    hidden = { label: null, predicted: null };
    filterGallery();
    noteState();
  });
  byId("save-ids").addEventListener("click", saveIds);
  byId("show-more").addEventListener("click", () => {
    const before = shown;
    showMore();
    byId("cards").children[before]?.focus();
  });
  byId("cards").addEventListener("click", (event) => {
    const found = event.target.closest(".card");
    if (found) openLarge(Number(found.dataset.place), found);
  });
  byId("large-body").addEventListener("click", (event) => {
    const figure = event.target.closest("figure");
    figure?.classList.toggle("enlarged");
    figure?.scrollIntoView({ block: "nearest" });
  });
  byId("large-previous").addEventListener("click", () => drawLarge(place - 1));
  byId("large-next").addEventListener("click", () => drawLarge(place + 1));
  byId("large-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // on the backdrop
  });
  dialog.addEventListener("close", () => {
    noteState();
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
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, select, dialog")) return;
    event.preventDefault();
    fields.search.focus();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".to-gallery");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.hash);
    followAddress();
  });
  addEventListener("hashchange", followAddress);
  filterGallery();
  followAddress();
}

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
