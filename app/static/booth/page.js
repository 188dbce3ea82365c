// What the server said with the page: the words by language, how the deck's language is set, its theme.

/**
 * @typedef {object} Theme
 * @property {"shapes"|"plain"|"estate"} picture
 * @property {"serif"|"sans"|"mincho"} type
 * @property {Record<string, string>} colours  by CSS property; those that the deck has of its own
 *
 * @typedef {object} Choice  a deck on the start page of several decks
 * @property {string} id @property {string} name @property {string} language
 * @property {string[]} lines @property {string} path  of its page
 * @property {[string, string][]} languages  of its pages, its own first, each with its name
 *
 * @typedef {object} Page
 * @property {string} language  the deck's
 * @property {boolean} vertical  whether it is set in columns
 * @property {boolean} spaced  whether its words stand between spaces
 * @property {[string, string]} quotes
 * @property {number} hand  how many cards a hand has
 * @property {boolean} choose  whether visitors pick the cards themselves
 * @property {Record<string, Record<string, any>>} words  by language
 * @property {(Theme & Choice)[]} [decks]  where visitors choose one of several
 */

/** @type {Theme & Page} */
export const PAGE = JSON.parse(document.querySelector("#page").textContent);

const ROOT = document.documentElement;
const NAMES = ["--night", "--deep", "--paper", "--ink", "--soft", "--gold", "--gold-ink", "--gold-light", "--seal"];
/** A colour of the page's theme. @param {string} name */
export const colour = (name) => getComputedStyle(ROOT).getPropertyValue(name).trim();
const DEFAULTS = Object.fromEntries(NAMES.map((name) => [name, colour(name)]));

/** All colours of a theme by CSS property. @param {Theme} theme @returns {Record<string, string>} */
export const palette = (theme) => ({ ...DEFAULTS, ...theme.colours });

/** Give an element a theme's colours: by script, since the page's policy allows no inline style. */
export function dressIn(theme, element) {
  for (const [name, value] of Object.entries(palette(theme))) element.style.setProperty(name, value);
}

dressIn(PAGE, ROOT);

/** A quotation, as the deck's language marks it. @param {string} text */
export const quoted = (text) => PAGE.quotes[0] + text + PAGE.quotes[1];
