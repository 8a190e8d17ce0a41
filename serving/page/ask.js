// Questions to the server, and what its refusals mean to a shopper.

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
  rate_limited: ["You search very often", "Try again in a moment."],
  offline: ["The server cannot be reached", "Check the connection and try again."],
};

export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }

  get words() {
    const unexpected = this.code.startsWith("invalid_")
      ? ["This search is not possible", "Change the filters or the address."]
      : ["Something went wrong", "Try again in a moment."];
    return MESSAGES[this.code] ?? unexpected;
  }
}

// The answer with `took`: how long the server worked on it in milliseconds, or null.
export async function ask(path, { signal, ...options } = {}) {
  try {
    const answer = await fetch(path, { ...options, signal });
    const body = await answer.json();
    if (!answer.ok) throw new Failure(body.error.code, body.error.message);
    return { ...body, took: total(answer.headers.get("Server-Timing")) };
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof Failure ? error : new Failure("offline", "");
  }
}

function total(timing) {
  const found = /(?:^|, )total;dur=([\d.]+)/.exec(timing ?? "");
  return found && Number(found[1]);
}

export const itemPath = (id) => `/v1/items/${encodeURIComponent(id)}`;
