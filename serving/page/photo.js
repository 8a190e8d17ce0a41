// A shopper's photo: chosen, taken, dropped or pasted, and made small enough to send.

import { by } from "./dom.js";

const SHRINK_FROM_BYTES = 2_000_000; // a phone's photo; the search looks at far fewer pixels
const SHRINK_TO_PIXELS = 1600; // the longer side

export async function shrunk(photo) {
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

// `take` gets each photo that comes, whichever way.
export function onPhoto(take) {
  for (const id of ["photo", "camera"]) {
    by(id).addEventListener("change", ({ target }) => {
      const [file] = target.files;
      target.value = ""; // so that the same file can be chosen again
      if (file) take(file);
    });
  }
  addEventListener("click", ({ target }) => {
    const chosen = target.closest("[data-choose]");
    if (chosen) by(chosen.dataset.choose).click();
  });
  addEventListener("dragenter", (event) => hasFiles(event) && veil(depth + 1));
  addEventListener("dragleave", (event) => hasFiles(event) && veil(depth - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil(0);
    const file = photoIn(event.dataTransfer);
    if (file) take(file);
  });
  addEventListener("paste", (event) => {
    const file = photoIn(event.clipboardData);
    if (file) take(file);
  });
}

const photoIn = (transfer) => Array.from(transfer?.files ?? [])[0];
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0; // dragenter and dragleave also fire for every child

function veil(now) {
  depth = Math.max(0, now);
  by("veil").hidden = depth === 0;
}
