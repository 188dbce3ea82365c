// Attract: an advertisement that nobody has ordered yet, changing slowly until somebody stops.
import { headline, make } from "../dom.js";
import { PAGE } from "../page.js";
import { pictureElement, toneOf } from "../picture.js";

const CHANGE = 14_000;

/** @param {import("../game.js").Scene} scene */
export function start({ words, actions, page }) {
  const slogan = make("p.slogan", { lang: PAGE.language });
  const view = make("div.attract-view");
  const screen = make("section.screen.start", { "aria-labelledby": "name" }, make("div.attract", { "aria-hidden": "true" }, view, slogan),
    make("div.start-text", {},
      make("p.maker", {}, words.maker),
      make("h1", { id: "name", lang: PAGE.language }, page.name),
      make("p.headline.lines", {}, ...words.headline.map((line) => make("span", {}, line))),
      make("p.lead", {}, words.lead),
      make("button.primary.begin", { type: "button", onclick: actions.begin, "data-focus": true }, words.begin),
      make("p.hint", {}, words.beginHint),
      page.home ? make("button.quiet.home", { type: "button", onclick: actions.home }, words.allDecks) : null),
    make("p.small.start-small", {}, words.smallPrint));
  let at = Math.floor(Math.random() * page.titles.length);
  show(view, slogan, page.titles, at);
  const timer = setInterval(() => {
    if (!screen.isConnected) clearInterval(timer);
    else if (!document.hidden && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      at += 1;
      show(view, slogan, page.titles, at);
    }
  }, CHANGE);
  return screen;
}

/** The next picture over the last, and its line. Only dark ones: the text beside them is light. */
function show(view, slogan, titles, at) {
  let name = `attract|${at}`;
  for (let i = 0; toneOf(name) !== "dark"; i += 1) name = `attract|${at}|${i}`;
  const picture = pictureElement(name, { veil: 0.5 });
  view.append(picture);
  while (view.children.length > 2) view.firstChild.remove();
  headline(slogan, titles[at % titles.length]);
  slogan.getAnimations().forEach((animation) => { animation.cancel(); animation.play(); });
}
