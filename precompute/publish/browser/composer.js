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
  const { picks } = query;
  const form = forms[variant % forms.length];
  const further = Math.floor(variant / forms.length);
  const first = (new Choices(query.canonical).below(picks.length) + further) % picks.length;
  const choices = new Choices(`${query.canonical}#${variant}`);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const made = drawn(pieces, form, [...picks.slice(first), ...picks.slice(0, first)], choices);
    if (made) return made;
  }
  return null;
}

/** An answer whose lead is the first card; its sentences stand in the order of their places. */
function drawn(pieces, form, picks, choices) {
  const own = pieces.cards[picks[0][0]];
  const said = picks.map(([, phrase]) => choices.one(pieces.phrases[phrase][form.id]));
  said.sort(([, , a], [, , b]) => a - b);
  const lent = Object.fromEntries(own.endings.map(([name, texts]) => [name, choices.one(texts)]));
  const length = said.reduce((sum, [, size]) => sum + size, 0);
  for (const frame of choices.turned(form.frames)) {
    const rest = frame.endings.reduce((sum, name) => sum + lent[name][1], frame.length);
    if (pieces.least <= length + rest && length + rest <= pieces.most) {
      const texts = said.map(([text]) => text);
      return { title: choices.one(own.titles), poem: filled(frame, texts, lent) };
    }
  }
  return null;
}

function filled(frame, texts, lent) {
  const parts = frame.parts.map((part, at) => {
    if (at % 2 === 0) return part;
    return /^\d+$/.test(part) ? texts[Number(part) - 1] : lent[part][0];
  });
  return parts.join("").replaceAll("\n", BREAK);
}
