// What was asked: the shopper's photo with what it looks like, or an item with its facts.

import { itemPath } from "./ask.js";
import { hideBox, showBox } from "./box.js";
import { by, clone, element } from "./dom.js";
import { percent, price, stock } from "./results.js";

const VIEWS = {
  similar: "Similar",
  substitutes: "Substitutes",
  lookalikes: "Goes on the same page",
  variants: "Variants",
};
export const viewNames = Object.keys(VIEWS);
const UNLIKELY = 0.05; // a guess that says nothing
const steps = (path) => path.split(" > ");

by("picture").addEventListener("load", ({ target }) => {
  by("shown").style.setProperty("--ratio", target.naturalWidth / target.naturalHeight);
});

export function clearQuery() {
  hideBox();
  by("picture").removeAttribute("src");
  by("picture").alt = "";
  for (const id of ["name", "where", "facts", "tabs"]) by(id).replaceChildren();
  for (const id of ["offer", "category", "tabs"]) by(id).hidden = true;
}

export function startPhoto({ url }) {
  by("query").className = "query of-photo";
  by("name").textContent = "Your photo";
  by("picture").alt = "Your photo";
  by("picture").src = url;
}

export function startItem(id) {
  by("query").className = "query of-item";
  by("picture").src = `${itemPath(id)}/image`;
}

// `box`: the one that was asked for, if any; `photo` remembers whether a search found one itself.
export function aboutSearched(photo, { searched, category }, box) {
  if (!box) photo.found = searched.by === "found";
  showBox(searched);
  for (const button of by("parts").querySelectorAll("[data-box]")) {
    const isWhole = button.dataset.box === "whole";
    button.ariaPressed = String(searched.by === (isWhole ? "whole" : "found"));
    button.hidden = isWhole ? !photo.found && searched.by === "whole" : !photo.found;
  }
  const focused = document.activeElement.dataset.category;
  const guesses = category.filter(({ confidence }, place) => !place || confidence >= UNLIKELY);
  by("category").querySelector("ol").replaceChildren(...guesses.map(guess));
  for (const button of by("category").querySelectorAll("button")) {
    if (button.dataset.category === focused) button.focus();
  }
  by("category").hidden = category.length === 0;
}

function guess({ path, confidence }) {
  const row = clone("guess");
  const button = row.querySelector("button");
  button.dataset.category = path;
  button.title = `Search in ${path} only`;
  row.querySelector(".leaf").textContent = steps(path).at(-1);
  row.querySelector(".above").textContent = steps(path).slice(0, -1).join(" › ");
  row.querySelector(".number").textContent = percent(confidence);
  row.querySelector(".track").style.setProperty("--share", confidence);
  return row;
}

// `filtered` gives the address of the item's similar items with one filter more.
export function aboutItem(item, filtered) {
  by("name").textContent = item.title ?? item.item_id;
  by("picture").alt = item.title ?? "";
  const path = steps(item.category);
  const links = path.map((name, place) => {
    const category = path.slice(0, place + 1).join(" > ");
    return element("a", {
      href: filtered("category", category),
      title: `Similar items in ${category}`,
      textContent: name,
    });
  });
  by("where").replaceChildren(...links);
  by("offer").hidden = !price(item) && !stock(item);
  by("offer").querySelector(".price").textContent = price(item);
  by("offer").querySelector(".stock").textContent = stock(item);
  by("offer").classList.toggle("sold", item.in_stock === false);
  const facts = Object.entries(item.attributes).map(([name, value]) => [
    name,
    value,
    filtered("attribute", `${name}:${value}`),
  ]);
  if (item.brand) facts.unshift(["brand", item.brand, filtered("brand", item.brand)]);
  by("facts").replaceChildren(...facts.flatMap(fact));
}

function fact([name, value, href]) {
  const link = element("a", { href, title: `Similar items of this ${name}`, textContent: value });
  return [element("dt", { textContent: name }), element("dd", {}, link)];
}

// `to` gives the address of a view.
export function showTabs(current, to) {
  if (by("tabs").hidden) by("tabs").replaceChildren(...viewNames.map(() => element("a")));
  for (const [place, view] of viewNames.entries()) {
    const link = by("tabs").children[place];
    Object.assign(link, { href: to(view), textContent: VIEWS[view] });
    link.ariaCurrent = view === current ? "page" : null;
  }
  by("tabs").hidden = false;
}
