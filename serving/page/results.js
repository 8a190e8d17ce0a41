// The grid of items, and how an item's facts are written.

import { itemPath } from "./ask.js";
import { by, clone } from "./dom.js";
import { address } from "./place.js";

const LIKENESS = [ // from this cosine on
  [0.985, "Same look"],
  [0.9, "Nearly the same"],
  [0.75, "Very alike"],
  [0.55, "Alike"],
  [0.3, "A little alike"],
  [-Infinity, "Hardly alike"],
];

export function price({ price, currency }) {
  if (price === null) return "";
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(price);
  } catch {
    return `${price} ${currency ?? ""}`.trim(); // not an ISO 4217 code
  }
}

export function stock({ in_stock }) {
  return in_stock === null ? "" : in_stock ? "In stock" : "Sold out";
}

export const percent = (share) => `${Math.round(share * 100)}%`;

export function showSkeletons(count) {
  by("grid").ariaBusy = "true";
  by("grid").replaceChildren(...Array.from({ length: count }, () => clone("skeleton")));
}

let cards = new Map(); // of the grid, by what they show: those that stay are not drawn again

// `filters` go with the links.
export function showItems(items, filters) {
  const former = cards;
  cards = new Map(items.map((item) => [JSON.stringify(item), item]));
  for (const [key, item] of cards) {
    const node = former.get(key) ?? card(item);
    node.querySelector("a").href = address({ item: item.item_id, filters });
    cards.set(key, node);
  }
  by("grid").ariaBusy = "false";
  by("grid").replaceChildren(...cards.values());
}

function card(item) {
  const node = clone("card");
  const part = (name) => node.querySelector(`.${name}`);
  node.querySelector("a").classList.toggle("sold", item.in_stock === false);
  const image = node.querySelector("img");
  image.addEventListener("error", () => part("photo").classList.add("gone"));
  image.src = `${itemPath(item.item_id)}/image`;
  part("title").textContent = item.title ?? item.item_id;
  part("maker").textContent = item.brand ?? "";
  part("price").textContent = price(item);
  part("stock").textContent = stock(item);
  if (item.score === undefined) part("likeness").remove();
  else {
    const share = Math.max(0, item.score);
    part("likeness").title = `Cosine similarity ${item.score}`;
    part("track").style.setProperty("--share", share);
    part("words").textContent = LIKENESS.find(([from]) => item.score >= from)[1];
    part("number").textContent = percent(share);
  }
  return node;
}
