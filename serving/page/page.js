// The page for people: a photo or an item in, a grid of similar items out.

import { ask, itemPath } from "./ask.js";
import { onBox } from "./box.js";
import { by, say } from "./dom.js";
import { hideFilters, onFilters, showChips, showFilters } from "./filters.js";
import { askForKey, hideKeyForm, needsKey, onKey } from "./key.js";
import { hideNotices, loosened, showEmpty, showFailure, showLooser } from "./notice.js";
import { onPhoto, shrunk } from "./photo.js";
import { MOST_RESULTS, RESULTS, address, here, photos, query } from "./place.js";
import * as about from "./query.js";
import { showItems, showSkeletons } from "./results.js";

const SAMPLES = 12;
const WAIT_FOR_BUNDLE_MS = 3000;
const HEADINGS = {
  similar: ["Similar items", ""],
  sold: ["Sold out: these are in stock", "Of its category, at about its price."],
  substitutes: ["Substitutes", "In stock, of its category, at about its price."],
  lookalikes: ["Goes on the same page", "Of the same part of the shop, and not all alike."],
  variants: ["Variants", "Nearly the same thing: other views, colours and listings."],
};
const EMPTY = {
  similar: "The catalogue has no other item yet.",
  substitutes: "Nothing in stock could take its place. See what is similar.",
  lookalikes: "This part of the shop has nothing else. See what is similar.",
  variants: "No other view, colour or listing of it. See what is similar.",
};

let turn = new AbortController();
let waiting = 0;
let drawn = {}; // which photo, item or start the page shows, and which view of it

// Going somewhere

function visit(url, { state = null, replace = false } = {}) {
  if (!replace) history.replaceState({ ...history.state, top: scrollY }, "");
  history[replace ? "replaceState" : "pushState"](state, "", url);
  return show();
}

function refine(changes, { replace = false } = {}) {
  const { photo } = history.state ?? {};
  return visit(address({ ...here(), k: null, ...changes }), { state: { photo }, replace });
}

function searchPhoto(file) {
  const { item, photo, filters } = here();
  const kept = item === null && photo === null ? filters : []; // they waited for a photo
  photos.push({ file, url: URL.createObjectURL(file), found: null });
  visit(address({ filters: kept }), { state: { photo: photos.length - 1 } });
}

async function show({ top = 0 } = {}) {
  turn.abort();
  turn = new AbortController();
  clearTimeout(waiting);
  const { signal } = turn;
  const place = here();
  const what = place.item !== null ? `item ${place.item}` : (place.photo?.url ?? "start");
  const stays = what === drawn.what;
  hideNotices();
  hideKeyForm();
  if (!stays) clear();
  try {
    if (place.item !== null) await showItem(place, stays, signal);
    else if (place.photo) await showPhoto(place, stays, signal);
    else await showStart(place, stays, signal);
    drawn = { what, view: place.view };
    if (!stays) scrollTo(0, top);
  } catch (error) {
    if (!signal.aborted) fail(error, place, stays);
  }
}

async function showStart({ filters }, stays, signal) {
  document.title = "Lookalike";
  lay({ stays, start: true, count: SAMPLES });
  const words = filters.length ? "These filters wait for your photo." : "";
  head("Or start from the catalogue", words);
  showChips(filters);
  const { items, bundle, took } = await ask(`/v1/items?limit=${SAMPLES}`, { signal });
  by("kept").hidden = !(await ask("/v1/bundle", { signal })).photos_kept;
  by("unkept").hidden = !by("kept").hidden;
  fill(items, [], { bundle, took });
}

async function showItem(place, stays, signal) {
  const get = (path) => ask(itemPath(place.item) + path, { signal });
  lay({ stays: stays && place.view === drawn.view, count: RESULTS });
  if (!stays) about.startItem(place.item);
  const known = get("");
  const isKnown = about.viewNames.includes(place.view);
  const view = isKnown ? place.view : soldOut((await known).item) ? "substitutes" : "similar";
  const request = (filters, k) => get(`/${view}?${parameters(view, k, filters)}`);
  const [{ item }, answer] = await Promise.all([known, request(place.filters, place.k)]);
  document.title = `${item.title ?? "Item"} · Lookalike`;
  const { item: id, filters } = place;
  const filtered = (name, value) => address({ item: id, view: "similar", filters: [[name, value]] });
  if (!stays) about.aboutItem(item, filtered);
  about.showTabs(view, (other) => address({ item: id, view: other, filters }));
  head(...HEADINGS[view === "substitutes" && soldOut(item) ? "sold" : view]);
  await showAnswer({ ...place, view }, answer, request, stays);
}

async function showPhoto(place, stays, signal) {
  document.title = "Your photo · Lookalike";
  lay({ stays, count: RESULTS });
  head(...HEADINGS.similar);
  if (!stays) about.startPhoto(place.photo);
  const body = await (place.photo.sent ??= shrunk(place.photo.file));
  const request = (filters, k) =>
    ask(`/v1/search?${query({ k, box: place.box, filters })}`, { method: "POST", body, signal });
  const answer = await request(place.filters, place.k);
  about.aboutSearched(place.photo, answer, place.box);
  await showAnswer({ ...place, view: "similar" }, answer, request, stays);
}

const soldOut = (item) => item.in_stock === false;

function parameters(view, k, filters) {
  if (view === "variants") return ""; // all there are
  return query({ k, filters: view === "similar" ? filters : [] });
}

// Drawing

function clear() {
  drawn = {};
  about.clearQuery();
  hideFilters();
  scrollTo(0, 0);
}

function lay({ stays, start = false, count }) {
  by("hero").hidden = !start;
  by("another").hidden = start;
  by("query").hidden = start;
  by("split").classList.toggle("asked", !start);
  by("more").hidden = true;
  by("grid").hidden = false;
  if (stays) by("grid").ariaBusy = "true";
  else {
    head("", "");
    showSkeletons(count);
  }
  say("Loading");
}

function head(title, words) {
  by("heading").textContent = title;
  by("lead").textContent = words;
}

async function showAnswer({ view, filters, k }, answer, request, stays) {
  const { hits, bundle } = answer;
  fill(hits, view === "similar" ? filters : [], answer);
  if (!stays) by("heading").focus({ preventScroll: true });
  const isFull = view !== "variants" && hits.length >= Number(k);
  by("more").hidden = !isFull || Number(k) >= MOST_RESULTS;
  if (view === "similar") showFilters(filters, bundle.digest).catch(() => {}); // next time, then
  else hideFilters();
  if (hits.length) return;
  showEmpty("Nothing to show", EMPTY[view]);
  if (view !== "similar" || !filters.length) return;
  const finds = async (others) => (await request(others, "1")).hits.length > 0;
  showLooser(await loosened(filters, finds), (looser) => {
    refine({ filters: looser });
    by("heading").focus();
  });
}

function fill(items, filters, { bundle, took }) {
  showItems(items, filters);
  say(items.length === 1 ? "1 item" : `${items.length} items`);
  by("show").textContent = items.length ? "Show items" : "Nothing matches";
  const facts = {
    version: `Bundle version ${bundle.version}`,
    digest: bundle.digest,
    age: age(bundle.index_age_seconds),
    took: took === null ? "" : `Answered in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms`,
  };
  for (const span of by("footer").children) span.textContent = facts[span.dataset.fact];
  by("footer").hidden = false;
}

function age(seconds) {
  const [unit, length] =
    seconds < 5400 ? ["min", 60] : seconds < 172_800 ? ["h", 3600] : ["days", 86_400];
  return `Index ${Math.max(0, Math.round(seconds / length))} ${unit} old`;
}

// What was there before stays beside the notice; where nothing was, the notice stands alone.
function fail(error, { filters }, stays) {
  showItems([], []);
  by("grid").hidden = by("more").hidden = true;
  say("");
  if (!stays) {
    clear();
    head("", "");
    by("query").hidden = true;
    by("split").classList.remove("asked");
  }
  if (needsKey(error)) {
    if (!stays) by("hero").hidden = by("another").hidden = true;
    return askForKey(error);
  }
  const code = showFailure(error, filters.length > 0);
  if (code === "no_bundle") waiting = setTimeout(show, WAIT_FOR_BUNDLE_MS);
}

// Starting

addEventListener("click", (event) => {
  if (event.target.closest(".skip")) {
    event.preventDefault(); // a fragment would be a place of its own in the history
    by("main").focus();
  }
  const part = event.target.closest("[data-box]");
  if (part) refine({ box: part.dataset.box }, { replace: true });
  const link = event.target.closest('a[href^="/"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.getAttribute("href"));
});
by("again").addEventListener("click", () => show());
by("more").addEventListener("click", async () => {
  const former = by("grid").children.length;
  const k = String(Math.min(MOST_RESULTS, Number(here().k) + RESULTS));
  await refine({ k }, { replace: true });
  by("grid").children[former]?.querySelector("a").focus({ preventScroll: true });
});
addEventListener("popstate", () => show({ top: history.state?.top }));
history.scrollRestoration = "manual";
onKey(() => {
  by("main").focus();
  show();
});
onPhoto(searchPhoto);
onBox((box) => refine({ box }, { replace: true }));
onFilters((filters) => refine({ filters }));
show();
