// The page for people: a photo or an item in, a grid of similar items out.

const RESULTS = 24;
const SAMPLES = 12;
const SHRINK_FROM_BYTES = 2_000_000; // a phone's photo; the search looks at far fewer pixels
const SHRINK_TO_PIXELS = 1600; // the longer side
const WAIT_FOR_BUNDLE_MS = 3000;
const MESSAGES = {
  image_empty: ["This file is empty", "Choose another photo."],
  image_too_large: ["This photo is too large", "Save it with less than 10 MB."],
  image_too_many_pixels: ["This photo is too large", "Save it with less than 25 megapixels."],
  image_not_an_image: ["This is not a photo we can read", "Use a JPEG, PNG, WebP or GIF."],
  image_truncated: ["This photo is damaged", "It ends early or cannot be decoded."],
  image_animated: ["This image is animated", "Choose a still photo."],
  unknown_item: ["This item is not in the catalogue", "It may have been sold or replaced."],
  no_bundle: ["The catalogue is being prepared", "This page tries again by itself."],
  overloaded: ["Many people are searching right now", "Try again in a moment."],
  deadline: ["This took too long", "Try again in a moment."],
  offline: ["The server cannot be reached", "Check the connection and try again."],
};

const by = (id) => document.getElementById(id);
const clone = (id) => by(id).content.firstElementChild.cloneNode(true);
const steps = (path) => path.split(" > ");
const leafOf = (path) => steps(path).at(-1);
const percent = (share) => `${Math.round(share * 100)}%`;
const itemPath = (id) => `/v1/items/${encodeURIComponent(id)}`;

const photos = []; // of this visit, so that "back" finds them; the server keeps none
let turn = new AbortController();
let waiting = 0;

// Asking

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: turn.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("offline", "");
  }
  const body = await answer.json().catch(() => ({ error: { code: "offline", message: "" } }));
  if (!answer.ok) throw new Failure(body.error.code, body.error.message);
  return body;
}

async function shrunk(photo) {
  if (photo.size < SHRINK_FROM_BYTES) return photo;
  try {
    const image = await createImageBitmap(photo);
    const scale = Math.min(1, SHRINK_TO_PIXELS / Math.max(image.width, image.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(image.width * scale);
    canvas.height = Math.round(image.height * scale);
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // as the server lays transparent photos on white
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const small = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    return small ?? photo;
  } catch {
    return photo; // the server says what is wrong with it
  }
}

// Places: the start, an item, a photo of this visit

function go(url, state) {
  history.pushState(state, "", url);
  show();
}

function search(photo) {
  photos.push({ photo, url: URL.createObjectURL(photo) });
  go("/", { photo: photos.length - 1 });
}

async function show() {
  turn.abort();
  turn = new AbortController();
  clearTimeout(waiting);
  const { signal } = turn;
  const item = new URLSearchParams(location.search).get("item");
  const asked = photos[history.state?.photo];
  const place = item !== null ? showItem(item) : asked ? showPhoto(asked) : showStart();
  try {
    await place;
  } catch (error) {
    if (!signal.aborted) showFailure(error);
  }
}

async function showStart() {
  document.title = "Lookalike";
  lay({ hero: true, heading: "Or start from the catalogue", count: SAMPLES });
  const { items, bundle } = await ask(`/v1/items?limit=${SAMPLES}`);
  fill(items, bundle);
}

async function showItem(id) {
  lay({ query: true, heading: "Similar items", count: RESULTS });
  aboutPicture(`${itemPath(id)}/image`);
  const { item, hits, bundle } = await ask(`${itemPath(id)}/similar?k=${RESULTS}`);
  document.title = `${item.title ?? "Item"} · Lookalike`;
  aboutItem(item);
  fill(hits, bundle);
}

async function showPhoto({ photo, url }) {
  document.title = "Your photo · Lookalike";
  lay({ query: true, heading: "Similar items", count: RESULTS });
  aboutPicture(url, "Your photo");
  const body = await shrunk(photo);
  const answer = await ask(`/v1/search?k=${RESULTS}`, { method: "POST", body });
  const { hits, category, searched, bundle } = answer;
  aboutSearched(searched);
  aboutCategory(category);
  fill(hits, bundle);
}

// Drawing

function lay({ hero = false, query = false, heading, count }) {
  by("hero").hidden = !hero;
  by("another").hidden = hero;
  by("notice").hidden = true;
  by("query").hidden = !query;
  by("split").hidden = false;
  by("split").classList.toggle("asked", query);
  by("heading").textContent = heading;
  by("grid").ariaBusy = "true";
  by("grid").replaceChildren(...Array.from({ length: count }, () => clone("skeleton")));
  by("status").textContent = "Loading";
  aboutPicture("");
  for (const part of [".where", ".facts", ".category ol"]) {
    by("query").querySelector(part).replaceChildren();
  }
  by("query").querySelector(".category").hidden = true;
  scrollTo(0, 0);
}

function fill(items, bundle) {
  by("grid").ariaBusy = "false";
  by("grid").replaceChildren(...items.map(card));
  by("status").textContent = items.length === 1 ? "1 item" : `${items.length} items`;
  if (!by("query").hidden) by("heading").focus({ preventScroll: true });
  const facts = {
    version: `Bundle version ${bundle.version}`,
    digest: bundle.digest,
    age: age(bundle.index_age_seconds),
  };
  for (const span of by("footer").children) span.textContent = facts[span.dataset.fact];
  by("footer").hidden = false;
}

function card(item) {
  const node = clone("card");
  const link = node.querySelector("a");
  const part = (name) => node.querySelector(`.${name}`);
  link.href = `/?item=${encodeURIComponent(item.item_id)}`;
  link.classList.toggle("sold", item.in_stock === false);
  const image = node.querySelector("img");
  image.addEventListener("error", () => part("photo").classList.add("gone"));
  image.src = `${itemPath(item.item_id)}/image`;
  part("title").textContent = item.title ?? item.item_id;
  part("brandname").textContent = item.brand ?? "";
  part("price").textContent = price(item);
  part("stock").textContent = stock(item);
  part("leaf").textContent = leafOf(item.category);
  if (item.score === undefined) part("score").remove();
  else {
    part("score").title = `Cosine similarity ${item.score}`;
    part("track").style.setProperty("--share", Math.max(0, item.score));
    part("number").textContent = `${percent(Math.max(0, item.score))} similar`;
  }
  return node;
}

function aboutPicture(url, caption = "") {
  const image = by("query").querySelector("img");
  if (url) image.src = url;
  else image.removeAttribute("src");
  image.alt = caption;
  by("searched").toggleAttribute("hidden", true);
  by("query").querySelector("figcaption").textContent = caption;
}

function aboutSearched({ by: chosenBy, box, photo }) {
  if (chosenBy === "whole") return;
  const [x, y, width, height] = box;
  const part = { x, y, width, height };
  for (const [name, value] of Object.entries(part)) {
    by("searched").firstElementChild.setAttribute(name, value);
  }
  by("searched").setAttribute("viewBox", `0 0 ${photo.join(" ")}`); // fits as the photo does
  by("searched").toggleAttribute("hidden", false);
}

function aboutItem(item) {
  by("query").querySelector("figcaption").textContent = item.title ?? item.item_id;
  by("query").querySelector("img").alt = item.title ?? "";
  by("query").querySelector(".where").textContent = steps(item.category).join(" › ");
  const facts = { Brand: item.brand, Price: price(item), Stock: stock(item) };
  for (const [name, value] of Object.entries(facts)) {
    if (!value) continue;
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, value];
    by("query").querySelector(".facts").append(term, text);
  }
}

function aboutCategory(guesses) {
  const rows = guesses.map(({ path, confidence }) => {
    const row = clone("guess");
    const above = document.createElement("small");
    above.textContent = steps(path).slice(0, -1).join(" › ");
    row.querySelector(".name").append(leafOf(path), above);
    row.querySelector(".number").textContent = percent(confidence);
    row.querySelector(".track").style.setProperty("--share", confidence);
    return row;
  });
  by("query").querySelector(".category ol").replaceChildren(...rows);
  by("query").querySelector(".category").hidden = rows.length === 0;
}

function showFailure({ code = "page", message }) {
  const unexpected = ["Something went wrong", message || "Try again in a moment."];
  const [title, text] = MESSAGES[code] ?? unexpected;
  by("split").hidden = true;
  by("notice").hidden = false;
  by("notice").querySelector("h2").textContent = title;
  by("notice").querySelector("p").textContent = text;
  by("again").hidden = code.startsWith("image_") || code === "unknown_item";
  by("notice").querySelector("[data-choose]").classList.toggle("quiet", !by("again").hidden);
  by("status").textContent = "";
  if (code === "no_bundle") waiting = setTimeout(show, WAIT_FOR_BUNDLE_MS);
}

function price({ price, currency }) {
  if (price === null) return "";
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(price);
  } catch {
    return `${price} ${currency ?? ""}`.trim(); // not an ISO 4217 code
  }
}

function stock({ in_stock }) {
  return in_stock === null ? "" : in_stock ? "In stock" : "Sold out";
}

function age(seconds) {
  const [unit, length] =
    seconds < 5400 ? ["min", 60] : seconds < 172_800 ? ["h", 3600] : ["days", 86_400];
  return `Index ${Math.max(0, Math.round(seconds / length))} ${unit} old`;
}

// Photos come by choosing, dropping and pasting

for (const id of ["photo", "camera"]) {
  by(id).addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // so that the same file can be chosen again
    if (file) search(file);
  });
}

const photoIn = (transfer) => Array.from(transfer?.files ?? [])[0];
let depth = 0; // dragenter and dragleave also fire for every child

function veil(change) {
  depth = Math.max(0, change === null ? 0 : depth + change);
  by("veil").hidden = depth === 0;
}

addEventListener("dragenter", (event) => event.dataTransfer?.types.includes("Files") && veil(1));
addEventListener("dragleave", (event) => event.dataTransfer?.types.includes("Files") && veil(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  veil(null);
  const file = photoIn(event.dataTransfer);
  if (file) search(file);
});
addEventListener("paste", (event) => {
  const file = photoIn(event.clipboardData);
  if (file) search(file);
});

addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-choose]");
  if (chosen) by(chosen.dataset.choose).click();
  if (event.target.closest(".skip")) {
    event.preventDefault(); // a fragment would be a place of its own in the history
    by("main").focus();
  }
  const link = event.target.closest("a.card, a[data-home]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"), null);
});
addEventListener("popstate", show);
by("again").addEventListener("click", show);
show();
