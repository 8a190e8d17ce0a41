// The part of the photo that is searched: moved and resized by pointer and by keyboard.

import { by, say } from "./dom.js";

const STEP = 0.02; // of the photo's side, for each press of an arrow key
const LEAST = 0.06; // the shortest side of a box, of the photo's
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let photo = [1, 1]; // width and height in pixels
let box = [0, 0, 1, 1]; // x, y, width, height in the same
let searched = box;
let held = null; // by a pointer: where it took hold, what of, and the box as it was then

export function showBox(found) {
  photo = found.photo;
  searched = found.box;
  held = null;
  put(found.box);
  for (const id of ["box", "dim", "parts"]) by(id).hidden = false;
}

export function hideBox() {
  held = null;
  for (const id of ["box", "dim", "parts"]) by(id).hidden = true;
}

// `search` gets `x,y,width,height` in whole pixels of the photo each time a box is settled.
export function onBox(search) {
  const settle = () => {
    const settled = box.map(Math.round);
    if (String(settled) !== String(searched)) search((searched = settled).join(","));
  };
  const node = by("box");
  by("shown").addEventListener("dragstart", (event) => event.preventDefault()); // of the picture
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    const edges = event.target.dataset.edges ?? "";
    held = { id: event.pointerId, at: [event.clientX, event.clientY], edges, box };
  });
  node.addEventListener("pointermove", (event) => {
    if (held?.id !== event.pointerId) return;
    const { width } = by("shown").getBoundingClientRect();
    const scale = photo[0] / width;
    const by_x = (event.clientX - held.at[0]) * scale;
    const by_y = (event.clientY - held.at[1]) * scale;
    put(changed(held.box, held.edges, [by_x, by_y]));
  });
  node.addEventListener("pointerup", () => {
    if (held === null) return;
    held = null;
    settle();
  });
  node.addEventListener("pointercancel", () => {
    if (held === null) return;
    put(held.box);
    held = null;
  });
  node.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      const by_pixels = arrow.map((way, side) => way * STEP * photo[side]);
      put(changed(box, event.shiftKey ? "se" : "", by_pixels));
      say(described());
    } else if (event.key === "Enter") settle();
    else if (event.key === "Escape") put(searched);
    else return;
    event.preventDefault();
  });
}

// The box after its edges (`n`, `e`, `s`, `w`; none: all of it) went so many pixels.
function changed([x, y, width, height], edges, [by_x, by_y]) {
  const [left, right] = side(x, x + width, photo[0], by_x, edges.includes("w"), edges.includes("e"));
  const [top, bottom] = side(y, y + height, photo[1], by_y, edges.includes("n"), edges.includes("s"));
  return [left, top, right - left, bottom - top];
}

function side(low, high, most, by_pixels, takesLow, takesHigh) {
  const least = Math.min(Math.max(1, LEAST * most), high - low);
  if (takesLow) return [between(0, low + by_pixels, high - least), high];
  if (takesHigh) return [low, between(low + least, high + by_pixels, most)];
  const moved = between(0, low + by_pixels, most - (high - low));
  return [moved, moved + high - low];
}

const between = (least, value, most) => Math.min(Math.max(value, least), most);

function put(next) {
  box = next;
  const [x, y, width, height] = box;
  const shares = { x: x / photo[0], y: y / photo[1], w: width / photo[0], h: height / photo[1] };
  for (const [name, share] of Object.entries(shares)) {
    by("shown").style.setProperty(`--${name}`, share);
  }
  by("box").classList.toggle("whole", width >= photo[0] && height >= photo[1]);
  by("box").ariaLabel = `Part of the photo that is searched: ${described()}`;
}

function described() {
  const [x, y, width, height] = box;
  const percent = (value, side) => `${Math.round((100 * value) / photo[side])}%`;
  return (
    `${percent(x, 0)} from the left, ${percent(y, 1)} from the top, ` +
    `${percent(width, 0)} wide, ${percent(height, 1)} high`
  );
}
