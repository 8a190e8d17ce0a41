// What may be found: a bar above the results, a sheet on a phone, and a chip for each filter.
// Filters are pairs of a name and a value, as they stand in the address.

import { ask } from "./ask.js";
import { by, element } from "./dom.js";

const SHEET = matchMedia("(max-width: 760px)");
const WORDS = {
  category: (path) => path.split(" > ").join(" › "),
  brand: (name) => name,
  min_price: (least) => `From ${least}`,
  max_price: (most) => `Up to ${most}`,
  in_stock: (is) => (is === "true" ? "In stock only" : "Sold out only"),
  attribute: (pair) => pair.replace(":", ": "),
  per_product: (most) => (most === "1" ? "One per product" : `At most ${most} per product`),
};

let applied = [];
let facets = { digest: null, categories: [], brands: [], attributes: [], price: {} };
let drawn = ""; // what the bar shows; a control that is in use is not drawn again

const valuesOf = (name) => applied.filter(([of]) => of === name).map(([, value]) => value);
const without = (...names) => applied.filter(([of]) => !names.includes(of));
const one = (name, value) => [...without(name), ...(value ? [[name, value]] : [])];

// `apply` gets all filters after each change.
export function onFilters(apply) {
  const change = (filters) => {
    showChips(filters);
    draw();
    apply(filters);
  };
  SHEET.addEventListener("change", settle);
  settle();
  by("open-filters").addEventListener("click", () => by("sheet").showModal());
  by("filters").addEventListener("change", ({ target }) => {
    if (target.type === "checkbox") change(checked(target));
    if (target.type === "number") change(priced());
    if (target.dataset.attribute) change(described(target));
  });
  by("brand").addEventListener("input", showBrands);
  addEventListener("click", ({ target }) => {
    const category = target.closest("[data-category]");
    const isInBar = by("by-category").contains(category); // before it is drawn again
    if (category) change(one("category", category.dataset.category));
    if (isInBar) by("trail").lastElementChild.focus();
    const chip = target.closest("[data-chip]");
    if (chip) {
      change(applied.filter((_, place) => place !== Number(chip.dataset.chip)));
      (by("chips").querySelector("button") ?? by("heading")).focus();
    }
    if (target.closest("[data-clear]")) {
      change([]);
      if (!by("sheet").open) by("heading").focus();
    }
    if (target.closest("[data-close]") || target === by("sheet")) by("sheet").close();
  });
  addEventListener("pointerdown", ({ target }) => {
    for (const open of panels()) if (!SHEET.matches && !open.contains(target)) open.open = false;
  });
  by("filters").addEventListener("keydown", (event) => {
    const open = event.target.closest("details[open]");
    if (event.key !== "Escape" || !open || SHEET.matches) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

const panels = () => by("filters").querySelectorAll("details[open]");

function settle() {
  by("sheet").close();
  by(SHEET.matches ? "sheet-place" : "bar-place").append(by("filters"));
}

function checked({ name, value, checked }) {
  if (name !== "brand") return one(name, checked && value);
  const others = applied.filter(([of, brand]) => of !== "brand" || brand !== value);
  return checked ? [...others, ["brand", value]] : others;
}

// An item has one value of each attribute, and all that are asked for must hold.
function described({ dataset, value }) {
  const name = dataset.attribute;
  const others = applied.filter(([of, pair]) => of !== "attribute" || nameOf(pair) !== name);
  return value ? [...others, ["attribute", `${name}:${value}`]] : others;
}

const nameOf = (pair) => pair.slice(0, pair.indexOf(":"));

function priced() {
  let [least, most] = [by("min_price").value, by("max_price").value];
  if (least && most && Number(least) > Number(most)) [least, most] = [most, least];
  const ends = [["min_price", least], ["max_price", most]];
  return [...without("min_price", "max_price"), ...ends.filter(([, value]) => value)];
}

export function hideFilters() {
  for (const id of ["filters", "open-filters", "chips"]) by(id).hidden = true;
}

// `digest` of the bundle that answered: another one has other categories and brands.
export async function showFilters(filters, digest) {
  showChips(filters);
  by("filters").hidden = by("open-filters").hidden = false;
  draw();
  if (digest === facets.digest) return;
  const answer = await ask("/v1/facets");
  facets = { ...answer, digest: answer.bundle.digest };
  draw();
}

export function showChips(filters) {
  by("chips").hidden = filters.length === 0;
  if (JSON.stringify(filters) === JSON.stringify(applied)) return; // one may have the focus
  applied = filters;
  const chips = filters.map(([name, value], place) => {
    const text = WORDS[name](value);
    const chip = element("button", { type: "button", textContent: text });
    chip.ariaLabel = `Remove the filter ${text}`;
    chip.dataset.chip = place;
    return element("li", {}, chip);
  });
  if (chips.length) {
    const clear = element("button", { type: "button", className: "link", textContent: "Clear all" });
    clear.dataset.clear = "";
    chips.push(element("li", {}, clear));
  }
  by("chips").replaceChildren(...chips);
}

function draw() {
  const now = JSON.stringify([applied, facets.digest]);
  if (now === drawn) return;
  drawn = now;
  showCategories();
  if (!by("brands").contains(document.activeElement)) showBrands();
  showAttributes();
  for (const end of ["min_price", "max_price"]) by(end).value = valuesOf(end)[0] ?? "";
  by("min_price").placeholder = Math.floor(facets.price.least ?? 0);
  by("max_price").placeholder = Math.ceil(facets.price.most ?? 0);
  for (const box of by("filters").querySelectorAll("input[type=checkbox]")) {
    box.checked = valuesOf(box.name).includes(box.value);
  }
  const marks = {
    category: ["category"],
    brand: ["brand"],
    price: ["min_price", "max_price"],
    attribute: ["attribute"],
  };
  for (const [id, names] of Object.entries(marks)) {
    by(`by-${id}`).classList.toggle("on", names.some((name) => valuesOf(name).length > 0));
  }
  by("open-filters").textContent = applied.length ? `Filters (${applied.length})` : "Filters";
}

function showCategories() {
  const chosen = valuesOf("category")[0] ?? "";
  const trail = chosen ? chosen.split(" > ") : [];
  const children = below(trail);
  const level = children.size || !trail.length ? trail : trail.slice(0, -1);
  const rows = [...(children.size ? children : below(level))].map(([name, count]) =>
    element("li", {}, choice([...level, name], name, count, chosen)),
  );
  const steps = ["", ...trail].map((name, place) =>
    choice(trail.slice(0, place), name || "All", null, chosen),
  );
  by("trail").replaceChildren(...steps);
  by("categories").replaceChildren(...rows);
}

// Names of the next level and how many items are under each, the most first.
function below(trail) {
  const counts = new Map();
  for (const { name, count } of facets.categories) {
    const path = name.split(" > ");
    const next = path[trail.length];
    if (next === undefined || trail.some((step, place) => step !== path[place])) continue;
    counts.set(next, (counts.get(next) ?? 0) + count);
  }
  return new Map([...counts].sort(([, a], [, b]) => b - a));
}

function choice(path, name, count, chosen) {
  const button = element("button", { type: "button" }, element("span", { textContent: name }));
  button.dataset.category = path.join(" > ");
  if (button.dataset.category === chosen) button.ariaCurrent = "true";
  if (count !== null) button.append(number(count));
  return button;
}

const number = (count) =>
  element("span", { className: "count", textContent: count.toLocaleString() });

function showBrands() {
  const sought = by("brand").value.trim().toLowerCase();
  const counted = new Map(facets.brands.map(({ name, count }) => [name, count]));
  const unlisted = valuesOf("brand").filter((name) => !counted.has(name));
  const rows = [...unlisted.map((name) => [name, null]), ...counted]
    .filter(([name]) => name.toLowerCase().includes(sought))
    .map(([name, count]) => {
      const box = element("input", { type: "checkbox", name: "brand", value: name });
      box.checked = valuesOf("brand").includes(name);
      const label = element("label", {}, box, element("span", { textContent: name }));
      if (count !== null) label.append(number(count));
      return element("li", {}, label);
    });
  const none = element("li", { className: "none", textContent: "No brand of this name." });
  by("brands").replaceChildren(...(rows.length ? rows : [none]));
}

function showAttributes() {
  const pairs = valuesOf("attribute").map((pair) => [nameOf(pair), pair]);
  const asked = new Map(pairs.map(([name, pair]) => [name, pair.slice(name.length + 1)]));
  if (by("attributes").contains(document.activeElement)) {
    for (const select of by("attributes").querySelectorAll("select")) {
      select.value = asked.get(select.dataset.attribute) ?? "";
    }
    return;
  }
  const counted = facets.attributes.filter(({ name }) => name && !name.includes(":"));
  const listed = new Map(counted.map(({ name, values }) => [name, values]));
  const unlisted = [...asked.keys()].filter((name) => !listed.has(name)).map((name) => [name, []]);
  const rows = [...listed, ...unlisted].map(([name, values]) =>
    selectOf(name, values, asked.get(name)),
  );
  by("attributes").replaceChildren(...rows);
  by("by-attribute").hidden = rows.length === 0;
}

function selectOf(name, values, chosen = "") {
  const counts = values.map((each) => [each.name, `${each.name} (${each.count.toLocaleString()})`]);
  if (chosen && !values.some((each) => each.name === chosen)) counts.unshift([chosen, chosen]);
  const options = [["", "Any"], ...counts.filter(([value]) => value)].map(([value, textContent]) =>
    element("option", { value, textContent, selected: value === chosen }),
  );
  const select = element("select", {}, ...options);
  select.dataset.attribute = select.ariaLabel = name;
  return element("label", {}, element("span", { textContent: name }), select);
}
