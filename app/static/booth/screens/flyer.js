// The flyer and what can be done with it.
import { make } from "../dom.js";
import { back, front } from "../flyer.js";
import { playName } from "../seed.js";
import { handOf, mattersOf } from "../play.js";

/** @param {import("../game.js").Scene} scene */
export function flyer({ state, words, actions, page, arrived }) {
  const text = { ...state.answer, play: playName(page.deck, handOf(state)), name: page.name };
  const faces = [front(text, words), back(mattersOf(state), words, page.name)];
  const sheet = make("article.sheet", { "aria-label": words.flyer }, ...faces);
  const screen = make("section.screen.flyer", {}, make("div.table", {}, sheet), bar({ state, words, actions, page, text }));
  if (arrived) screen.classList.add("arriving");
  showSide(screen, state.side);
  return screen;
}

/** Turn the sheet without making it anew, so that the turning is seen. */
export function showSide(screen, side) {
  screen.dataset.side = side;
  screen.querySelector(".front").inert = side === "back";
  screen.querySelector(".back").inert = side === "front";
}

function bar({ state, words, actions, page, text }) {
  const votes = ["up", "down"].map((vote) => make("button.vote", {
    type: "button", "data-vote": vote, "aria-pressed": String(state.vote === vote), disabled: state.vote !== null,
    onclick: () => actions.vote(vote),
  }, make("span", {}, words[vote])));
  return make("nav.bar", { "aria-label": words.actions },
    make("button.turn", { type: "button", onclick: actions.turn, "data-focus": true }, state.side === "front" ? words.turn : words.turnBack),
    make("button.again", { type: "button", onclick: actions.again }, words.again),
    ...votes,
    page.mayLeave ? make("button.save", { type: "button", onclick: () => actions.save(text) }, words.save) : null,
    page.mayPrint ? make("button.print", { type: "button", onclick: () => print() }, words.print) : null,
    make("button.primary.next", { type: "button", onclick: actions.next }, words.next));
}
