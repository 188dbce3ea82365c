// What the server refused, in its own sentence, and the way on.
import { make } from "../dom.js";

/** @param {import("../game.js").Scene} scene */
export function sorry({ state, words, actions }) {
  return make("section.screen.sorry", {},
    make("h1", { tabindex: -1 }, words.sorry),
    make("p.lead", {}, state.trouble),
    make("button.primary", { type: "button", onclick: actions.next, "data-focus": true }, words.restart));
}
