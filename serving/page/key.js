// The key of a search that is not public: asked for once, kept by the browser out of our reach.

import { Failure, ask } from "./ask.js";
import { by } from "./dom.js";

const SESSION = "/v1/session";
const FIRST = ["This search is not public", "Enter the search key that the shop's team gave you."];
const AGAIN = ["Please enter the key again", "Your session is over, or the key has changed."];
const REFUSED = {
  wrong_key: "This key is not known. Check that all of it is there, or ask the shop's team.",
  not_a_search_key: "This is an operator's key, which the page never takes. Use a search key.",
  rate_limited: "Too many tries. Wait a few seconds and try again.",
  offline: "The server cannot be reached. Check the connection and try again.",
};

export const needsKey = ({ code }) => code === "no_key" || code === "session_over";

// `begun` is called when a key was accepted.
export function onKey(begun) {
  by("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (by("key-form").ariaBusy !== "true" && (await send(by("key").value.trim()))) begun();
  });
  by("key").addEventListener("input", () => refuse(""));
  by("key-shown").addEventListener("click", () => uncover(by("key").type === "password"));
  by("sign-out").addEventListener("click", signOut);
  ask(SESSION).then(({ key }) => offerSignOut(key !== null), () => {}); // the search says what is wrong
}

export function askForKey({ code }) {
  [by("key-title").textContent, by("key-lead").textContent] = code === "no_key" ? FIRST : AGAIN;
  document.title = `${by("key-title").textContent} · Lookalike`;
  offerSignOut(false);
  by("key-form").hidden = false;
  by("key").focus();
}

export function hideKeyForm() {
  by("key-form").hidden = true;
  by("key").value = "";
  uncover(false);
  refuse("");
}

async function send(key) {
  if (!key) return refuse("Enter the key first.");
  by("key-form").ariaBusy = "true";
  try {
    const headers = { "Content-Type": "application/json" };
    await ask(SESSION, { method: "POST", headers, body: JSON.stringify({ key }) });
  } catch (error) {
    const code = error instanceof Failure ? error.code : "offline";
    return refuse(REFUSED[code] ?? `${error.message} Try again.`);
  } finally {
    by("key-form").ariaBusy = "false";
  }
  offerSignOut(true);
  return true;
}

function refuse(words) {
  by("key-error").textContent = words;
  by("key").ariaInvalid = String(words !== "");
  if (words) by("key").select();
  return false;
}

function uncover(isShown) {
  by("key").type = isShown ? "text" : "password";
  by("key-shown").ariaPressed = String(isShown);
  by("key-shown").textContent = isShown ? "Hide" : "Show";
}

function offerSignOut(isIn) {
  by("sign-out").hidden = !isIn;
}

async function signOut() {
  await fetch(SESSION, { method: "DELETE" }).catch(() => {});
  location.assign("/"); // with all that this tab remembers
}
