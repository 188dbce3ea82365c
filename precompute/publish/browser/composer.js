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
  const { forms } = pieces;
  const form = forms[(new Choices(query.canonical).below(forms.length) + variant) % forms.length];
  const choices = new Choices(`${query.canonical}#${variant}`);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const made = drawn(pieces, form, query, choices);
    if (made) return made;
  }
  return null;
}

function drawn(pieces, form, query, choices) {
  const [lead] = choices.one(query.picks);
  let said = choices.turned(query.picks).map(([card, phrase]) => {
    const [text, size, place] = choices.one(pieces.phrases[phrase][form.id]);
    return { card, text, size, place, word: ["", 0] };
  });
  said = form.places.length ? placed(form, said) : led(pieces, form, said, lead);
  const own = pieces.cards[lead];
  const lent = Object.fromEntries(own.endings.map(([name, texts]) => [name, choices.one(texts)]));
  const length = said.reduce((sum, one) => sum + one.word[1] + one.size, 0);
  for (const frame of choices.turned(form.frames)) {
    const rest = frame.endings.reduce((sum, name) => sum + lent[name][1], frame.length);
    if (pieces.least <= length + rest && length + rest <= pieces.most) {
      const texts = said.map((one) => frame.link.replaceAll("{word}", () => one.word[0]) + one.text);
      return { title: choices.one(own.titles), poem: filled(frame, texts, lent) };
    }
  }
  return null;
}

/** The sentences in the order of their places, each with one of the words of its place. */
function placed(form, said) {
  const sorted = [...said].sort((a, b) => a.place - b.place);
  return sorted.map((one, at) => {
    const same = sorted.filter(({ place }) => place === one.place);
    const before = at - sorted.findIndex(({ place }) => place === one.place);
    const words = form.places[one.place - 1];
    return { ...one, word: words[Math.floor(((2 * before + 1) * words.length) / (2 * same.length))] };
  });
}

/** The sentences with the lead's first, each with the word of its card's category. */
function led(pieces, form, said, lead) {
  const sorted = [...said].sort((a, b) => Number(a.card !== lead) - Number(b.card !== lead));
  return sorted.map((one) => ({ ...one, word: form.categories[pieces.cards[one.card].category] ?? one.word }));
}

function filled(frame, texts, lent) {
  const parts = frame.parts.map((part, at) => {
    if (at % 2 === 0) return part;
    return /^\d+$/.test(part) ? texts[Number(part) - 1] : lent[part][0];
  });
  return parts.join("").replaceAll("\n", BREAK);
}
