// One flaw, three ways to say it.
import { clauses, make } from "../dom.js";
import { PAGE } from "../page.js";

const SEAL = 520;

/** @param {import("../game.js").Scene} scene */
export function pick({ state, words, actions, still }) {
  const at = state.picks.length;
  const card = state.cards[at];
  let chosen = false;
  const choose = (phrase, button) => {
    if (chosen) return;
    chosen = true;
    button.classList.add("chosen");
    button.closest(".choices").classList.add("decided");
    setTimeout(() => actions.choose(phrase, card), still ? 0 : SEAL);
  };
  const buttons = card.poems.map((phrase, i) => choice(phrase, i, choose, words));
  const screen = make("section.screen.pick", { "aria-labelledby": "question" },
    make("div.flaw-side", {},
      make("p.category", { lang: state.language }, words.flawOf(card.category)),
      make("p.flaw", { id: "flaw", lang: PAGE.language }, ...clauses(card.condition_text))),
    make("div.choice-side", {},
      make("header.ask", {},
        make("p.step", {}, words.step(at + 1, state.cards.length), pips(at, state.cards.length)),
        make("h1", { id: "question", tabindex: -1 }, words.question)),
      make("div.choices", { role: "group", "aria-label": words.phrases, "aria-describedby": "flaw" }, ...buttons),
      make("div.foot", {}, at > 0 ? make("button.quiet", { type: "button", onclick: actions.earlier }, words.earlier) : null)));
  screen.addEventListener("keydown", (event) => byKey(event, buttons));
  return screen;
}

function choice(phrase, i, choose, words) {
  const button = make("button.choice", {
    type: "button", lang: PAGE.language, "data-phrase": phrase.id, "data-focus": i === 0,
    onclick: () => choose(phrase, button),
  }, make("span.number", { "aria-hidden": "true" }, String(i + 1)),
  make("span.words", {}, ...clauses(phrase.poem_text)), make("span.seal", { "aria-hidden": "true" }, words.seal));
  return button;
}

function pips(at, of) {
  return make("span.pips", { "aria-hidden": "true" }, ...Array.from({ length: of }, (_, i) => make(i <= at ? "i.done" : "i")));
}

/** Figures choose, arrows move. @param {KeyboardEvent} event */
function byKey(event, buttons) {
  const figure = Number(event.key);
  if (figure >= 1 && figure <= buttons.length && !event.ctrlKey && !event.metaKey && !event.altKey) buttons[figure - 1].click();
  const step = { ArrowDown: 1, ArrowLeft: 1, ArrowUp: -1, ArrowRight: -1 }[event.key];
  const focused = buttons.indexOf(document.activeElement);
  if (!step || focused < 0) return;
  event.preventDefault();
  buttons[(focused + step + buttons.length) % buttons.length].focus();
}
