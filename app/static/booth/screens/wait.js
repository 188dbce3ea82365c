// The beat before the joke. The answer has long arrived; whoever is in a hurry may tap it away.
import { make } from "../dom.js";

/** @param {import("../game.js").Scene} scene */
export function wait({ state, words, actions }) {
  const line = words.beats[(state.game + state.variant) % words.beats.length];
  return make("section.screen.wait", {},
    make("button.skip", { type: "button", onclick: actions.skip, "data-focus": true },
      make("span.thread", { "aria-hidden": "true" }),
      make("span.beat", {}, line),
      make("span.hint", {}, words.skip)));
}
