// When there is nothing to show: why, and what to do about it.

import { Failure } from "./ask.js";
import { by, element } from "./dom.js";

const LOOSER = {
  category: "Any category",
  brand: "Any brand",
  price: "Any price",
  in_stock: "Sold out too",
  attribute: "Any attribute",
};
const groupOf = (name) => (name.endsWith("_price") ? "price" : name);

export function hideNotices() {
  by("notice").hidden = by("empty").hidden = true;
}

// Returns the code of what went wrong. `hasFilters`: they can be cleared.
export function showFailure(error, hasFilters) {
  const failure = error instanceof Failure ? error : new Failure("page", error.message);
  const { code, message, words } = failure;
  const part = (selector) => by("notice").querySelector(selector);
  [part("h2").textContent, part("p").textContent] = words;
  part(".said").textContent = message;
  part(".said").hidden = message === "";
  by("again").hidden = code.startsWith("image_") || code === "unknown_item";
  part("[data-choose]").classList.toggle("quiet", !by("again").hidden);
  part("[data-clear]").hidden = !hasFilters || !code.startsWith("invalid_");
  by("notice").hidden = false;
  return code;
}

export function showEmpty(title, text, buttons = []) {
  by("empty").querySelector("h2").textContent = title;
  by("empty").querySelector("p").textContent = text;
  by("empty").querySelector(".actions").replaceChildren(...buttons);
  by("empty").hidden = false;
}

// Which kinds of filter leave something to find when they go. `finds` says whether others do.
export async function loosened(filters, finds) {
  const groups = [...new Set(filters.map(([name]) => groupOf(name)))].filter((g) => g in LOOSER);
  const ways = groups.map((group) => ({
    words: LOOSER[group],
    filters: filters.filter(([name]) => groupOf(name) !== group),
  }));
  const helps = await Promise.all(ways.map((way) => finds(way.filters)));
  return ways.filter((_, place) => helps[place]);
}

export function showLooser(ways, apply) {
  const buttons = ways.map(({ words, filters }) => {
    const button = element("button", { type: "button", className: "button", textContent: words });
    button.addEventListener("click", () => apply(filters));
    return button;
  });
  const clear = element("button", { type: "button", className: "button quiet" }, "Clear all filters");
  clear.dataset.clear = "";
  const text = ways.length
    ? "Nothing has all of these filters. Loosen one:"
    : "Nothing has all of these filters, nor all but one of them.";
  showEmpty("Nothing matches", text, [...buttons, clear]);
}
