// What the server said with the page: the words by language, and how the deck's language is set.

/**
 * @typedef {object} Page
 * @property {string} language  the deck's
 * @property {boolean} vertical  whether it is set in columns
 * @property {boolean} spaced  whether its words stand between spaces
 * @property {[string, string]} quotes
 * @property {Record<string, string>} colours  of the deck's theme, by CSS property
 * @property {Record<string, Record<string, any>>} words  by language
 */

/** @type {Page} */
export const PAGE = JSON.parse(document.querySelector("#page").textContent);

// By script and not in the page: its policy allows no inline style.
for (const [name, value] of Object.entries(PAGE.colours)) document.documentElement.style.setProperty(name, value);

/** A colour of the theme. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A quotation, as the deck's language marks it. @param {string} text */
export const quoted = (text) => PAGE.quotes[0] + text + PAGE.quotes[1];
