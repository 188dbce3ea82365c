// The flyer as it stands on a screen or on paper: a front to believe, a back to read.
import { fit, headline, make, paragraphs, vertical } from "./dom.js";
import { PAGE, quoted } from "./page.js";
import { pictureElement, toneOf } from "./picture.js";

/**
 * @typedef {object} Text
 * @property {string} play   the play's name; the picture follows from it
 * @property {string} title
 * @property {string} poem
 * @property {string} tier
 * @property {string} [source]  who wrote it
 * @property {string} name   the development's, which is the deck's
 */

// How large the type of a printed postcard is at most, in mm.
const PRINTED = PAGE.vertical ? 2.9 : 3.6;

/** Whether a text is so long that the picture gives way to it. @param {string} poem */
export const isLong = (poem) => !PAGE.vertical && poem.length > 600;

/** The type of a printed text in mm. It follows from the length: a page cannot measure its print. */
function printed(parts, long) {
  // A part of the paper in mm², since lines break before its edge.
  const room = 0.85 * 86 * (long ? 80 : 56);
  const sign = PAGE.spaced ? 0.8 : 2;
  const signs = parts.join("").length + parts.length * (PAGE.vertical ? 0 : 40);
  return Math.min(PRINTED, Math.sqrt(room / (sign * signs)));
}

/** @param {Text} text @param {Record<string, any>} words */
export function front(text, words) {
  const parts = paragraphs(text.poem);
  const lines = make("div.poem", { lang: PAGE.language }, ...parts.map((part) => make("p", {}, ...vertical(part))));
  const long = isLong(text.poem);
  lines.style.setProperty("--printed", `${printed(parts, long).toFixed(2)}mm`);
  const box = make("div.poem-box", {}, lines);
  const refit = () => fit(box, lines, { least: PAGE.vertical ? 9 : 12, most: Math.min(64, box.clientHeight / 15) });
  new ResizeObserver(refit).observe(box);
  document.fonts.ready.then(refit);
  return make(long ? "div.face.front.long" : "div.face.front", { "data-tone": toneOf(text.play) },
    make("div.view", {},
      pictureElement(text.play, { veil: PAGE.vertical ? 0.42 : 0.7 }),
      headline(make("h1.title", { lang: PAGE.language, tabindex: -1 }), text.title),
      make("p.estate", { lang: PAGE.language }, text.name)),
    make("div.paper", {}, box,
      make("p.small", {}, make("span", {}, words.frontPrint), make("span.tier", {}, words.sources[text.source] ?? words.tiers[text.tier] ?? text.tier))));
}

/** @param {{said: string, fact: string, category: string}[]} matters */
export function back(matters, words, name) {
  return make("div.face.back", {},
    make("div.matters-head", {},
      make("h1", { tabindex: -1 }, words.matters),
      make("p", {}, words.mattersLead)),
    make("div.matters-body", {},
      make("div.matter.columns", { "aria-hidden": "true" }, make("span"), make("span", {}, words.said), make("span", {}, words.fact)),
      make("dl.matters", { lang: PAGE.language }, ...matters.map(matter))),
    make("p.small", {}, make("span", {}, words.backPrint), make("span.estate", { lang: PAGE.language }, name)));
}

function matter({ said, fact, category }) {
  return make("div.matter", {},
    make("dt.category", {}, category),
    make("dd.said", {}, quoted(said)),
    make("dd.fact", {}, fact));
}
