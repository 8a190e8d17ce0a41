// Short names for what every module does with the document.

export const by = (id) => document.getElementById(id);
export const clone = (id) => by(id).content.firstElementChild.cloneNode(true);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export function say(text) {
  by("status").textContent = text;
}
