// Composes as the server does (app/kinds/cards/composing.py), from pieces whose lengths were measured
// when the edition was published.
import { Choices } from "./choices.js";

const ATTEMPTS = 16;
const BREAK = "\n\n";

/**
 * @param {any} pieces  what precompute/publish/making.py wrote
 * @param {ReturnType<import("./key.js").query>} query
 * @returns {{title: string, poem: string} | null}
 */
export function compose(pieces, query, variant = 0) {
  const { ideas, least, most } = pieces;
  const first = new Choices(query.canonical);
  const firsts = ideas.flatMap(({ frames }, place) => frames.map(() => place));
  const idea = ideas[(firsts[first.below(firsts.length)] + variant) % ideas.length];
  const further = Math.floor(variant / ideas.length);
  const choices = new Choices(`${query.canonical}#${variant}`);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const said = inOrder(
      choices
        .shuffled(query.picks)
        .map(([, phrase]) => choices.one(pieces.phrases[phrase][idea.id])),
    );
    const length = said.reduce((sum, [, size]) => sum + size, 0);
    const fitting = idea.frames.filter(
      (frame) => least <= length + frame.length && length + frame.length <= most,
    );
    if (fitting.length) {
      const frame = fitting[(first.below(fitting.length) + further) % fitting.length];
      return { title: frame.title, poem: filled(frame, said) };
    }
  }
  return null;
}

// Those with a rank in the order of their ranks; the others keep their places.
function inOrder(sentences) {
  const ranked = sentences.filter(([, , rank]) => rank !== null).sort((a, b) => a[2] - b[2]).values();
  return sentences.map((one) => (one[2] === null ? one : ranked.next().value));
}

function filled(frame, said) {
  const rest = frame.holes.map((hole, at) => said[hole][0] + frame.texts[at + 1]);
  return (frame.texts[0] + rest.join("")).replaceAll("\n", BREAK);
}
