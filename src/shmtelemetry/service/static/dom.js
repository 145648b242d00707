// Making elements. Text from outside only ever becomes textContent.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; `on…` attributes are listeners, null and false leave one out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Sets text only where it changes, so that nothing is laid out or announced for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The same of a name, which may break at its joints. */
export function sayName(element, name) {
  if (element.textContent === name) return;
  const parts = name.split(/(?<=_)/);
  element.replaceChildren(...parts.flatMap((part, at) => (at ? [make("wbr"), part] : [part])));
}

/** A row of choices of which one holds, as radio buttons: calls `chosen(value)`. Returns what sets one. */
export function segments(host, name, choices, now, chosen) {
  const inputs = new Map();
  for (const [value, text] of choices) {
    const input = make("input", { type: "radio", name, value, onchange: () => chosen(value) });
    input.checked = value === now;
    inputs.set(value, input);
    host.append(make("label", {}, input, make("span", {}, text)));
  }
  return (value) => {
    inputs.get(value).checked = true;
  };
}
