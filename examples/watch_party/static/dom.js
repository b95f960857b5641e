/** Helpers for elements of the page. */

export const $ = (id) => document.getElementById(id);

/** Return a new element with a plain text in it. */
export function element(tag, className = "", text = "") {
  const created = document.createElement(tag);
  created.className = className;
  created.textContent = text;
  return created;
}

/** Set a text only if it differs, because screen readers announce every change. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Return a hue for an id, which is the same on every page. */
export function hueOf(id) {
  return String([...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
}

/** Return a random number of 128 bits as hexadecimal digits. */
export function randomHex() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the text with each half of an emoji replaced, because a WebSocket cannot send it. */
export function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}
