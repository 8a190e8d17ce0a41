// Where the visitor is. The address says all of it but the photo, which stays in this tab.

export const RESULTS = 24;
export const MOST_RESULTS = 200;
export const FILTERS = [
  "category",
  "brand",
  "min_price",
  "max_price",
  "in_stock",
  "attribute",
  "per_product",
];

export const photos = []; // of this visit, so that "back" finds them; the server keeps none

export function here() {
  const given = new URLSearchParams(location.search);
  return {
    item: given.get("item"),
    photo: photos[history.state?.photo] ?? null,
    view: given.get("view"),
    box: given.get("box"),
    k: given.get("k") ?? String(RESULTS),
    filters: [...given].filter(([name]) => FILTERS.includes(name)),
  };
}

// What is left out keeps no parameter.
export function address({ item = null, view = null, box = null, k = null, filters = [] }) {
  const given = new URLSearchParams();
  if (item !== null) given.set("item", item);
  if (view) given.set("view", view);
  if (box) given.set("box", box);
  if (k !== null && k !== String(RESULTS)) given.set("k", k);
  for (const [name, value] of filters) given.append(name, value);
  return given.size ? `/?${given}` : "/";
}

export function query({ k, box = null, filters = [] }) {
  return new URLSearchParams([["k", k], ...(box ? [["box", box]] : []), ...filters]);
}
