// Five strips, turned over one after another: what is wrong with the flat.
import { clauses, make, vertical } from "../dom.js";
import { PAGE } from "../page.js";

const TURN = 480;

/** @param {import("../game.js").Scene} scene */
export function deal({ state, words, actions, arrived, still }) {
  const strips = state.cards.map((card) => strip(card, words));
  const go = make("button.primary", { type: "button", onclick: () => (turnedAll() ? actions.rephrase() : turnRest()) });
  let turned = 0;
  const turnedAll = () => turned >= strips.length;
  const turnRest = () => { while (!turnedAll()) turnNext(); };
  const turnNext = () => {
    strips[turned].classList.add("turned");
    strips[turned].querySelector(".strip-face").removeAttribute("aria-hidden");
    turned += 1;
    if (turnedAll()) ready();
  };
  const ready = () => {
    go.textContent = words.rephrase;
    go.classList.add("ready");
  };
  go.textContent = words.turnAll;
  const list = make("ol.strips", { "aria-label": words.cards, onclick: turnRest }, ...strips);
  const screen = make("section.screen.deal", {},
    make("header.ask", {}, make("h1", { tabindex: -1 }, words.dealt), make("p.lines", {}, ...words.dealtLead.map((line) => make("span", {}, line)))),
    list, make("div.foot", {}, go));
  go.dataset.focus = "";
  if (!arrived || still) turnRest();
  else turnOneByOne(screen, turnNext, turnedAll);
  return screen;
}

function turnOneByOne(screen, turnNext, turnedAll) {
  const timer = setInterval(() => {
    if (turnedAll() || !screen.isConnected) clearInterval(timer);
    else turnNext();
  }, TURN);
}

function strip(card, words) {
  return make("li.strip", {},
    make("div.strip-turn", {},
      make("div.strip-back", { "aria-hidden": "true" }, make("span.crest")),
      make("div.strip-face", { lang: PAGE.language, "aria-hidden": "true" },
        make("p.category", {}, ...vertical(card.category)),
        make("p.flaw", {}, ...clauses(card.condition_text)))));
}
