// Making elements, and setting text in columns where the deck's language stands in them.
import { PAGE } from "./page.js";

/** A text whose lines do not break at the spaces that French sets beside « » and before : ; ? !. @param {string} text */
const unbroken = (text) => text.replace(/ (?=[:;?!»])|(?<=«) /g, "\u00a0");

/**
 * @param {string} name  as in "button.primary"
 * @param {Record<string, unknown>} attributes  `on…` are listeners; false and null are left out
 * @param {...(Node|string|null)} children
 */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  const there = children.filter((child) => child !== null && child !== undefined);
  element.append(...there.map((child) => (typeof child === "string" ? unbroken(child) : child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name @param {Record<string, unknown>} attributes @param {...(Node|string)} children */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

const wide = (sign) => String.fromCharCode(sign.charCodeAt(0) + 0xfee0);

/** Latin letters in full width, and digits too where there are more than stand side by side. */
export function upright(text) {
  return text.replace(/[A-Za-z%]|\d{4,}|\d(?=[A-Za-z])|(?<=[A-Za-z])\d/g, (run) => [...run].map(wide).join(""));
}

/** A text for a vertical line: short runs of digits lie across it. @param {string} text */
export function vertical(text) {
  if (!PAGE.vertical) return [text];
  const parts = upright(text).split(/(\d{1,3})/);
  return parts.map((part, i) => (i % 2 ? make("span.across", {}, part) : part)).filter(Boolean);
}

/** The same, kept together clause by clause: a line would rather break after a comma. */
export function clauses(text) {
  if (!PAGE.vertical) return [text];
  return text.split(/(?<=[、。」])/).map((clause) => make("span.clause", {}, ...vertical(clause)));
}

/**
 * A title in one column for each clause, as large as its longest allows: CSS divides by `--signs`.
 * @param {HTMLElement} element @param {string} text
 */
export function headline(element, text) {
  const parts = clauses(text);
  const longest = Math.max(...parts.map((part) => (part.textContent ?? part).length));
  element.style.setProperty("--signs", String(Math.max(5, longest)));
  element.replaceChildren(...parts);
  return element;
}

/** Paragraphs of a poem. @param {string} text */
export const paragraphs = (text) => text.split(/\n+/).map((part) => part.trim()).filter(Boolean);

/**
 * Take the largest type with which a vertical text stays within its box.
 * @param {HTMLElement} box @param {HTMLElement} text @param {{least: number, most: number}} sizes
 */
export function fit(box, text, { least, most }) {
  const fits = (size) => {
    text.style.fontSize = `${size}px`;
    return text.offsetWidth <= box.clientWidth && text.scrollHeight <= box.clientHeight;
  };
  if (!box.clientWidth || !box.clientHeight) return;
  // Step by step and not by halves: a larger size may fit where a smaller does not, because columns
  // break elsewhere.
  let size = most;
  while (!fits(size) && size > least) size = Math.max(least, size - 0.5);
}
