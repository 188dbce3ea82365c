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
  const start = new Choices(query.canonical);
  const form = forms[(start.below(forms.length) + variant) % forms.length];
  const further = Math.floor(variant / forms.length);
  const [lead] = picks[(start.below(picks.length) + further) % picks.length];
  const choices = new Choices(`${query.canonical}#${variant}`);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const made = drawn(pieces, form, lead, picks, choices);
    if (made) return made;
  }
  return null;
}

function drawn(pieces, form, lead, picks, choices) {
  const order = [...choices.turned(picks)].sort((a, b) => Number(a[0] !== lead) - Number(b[0] !== lead));
  const words = order.map(([card]) => form.categories[pieces.cards[card].category] ?? ["", 0]);
  const said = order.map(([, phrase]) => choices.one(pieces.phrases[phrase][form.id]));
  const own = pieces.cards[lead];
  const lent = Object.fromEntries(own.endings.map(([name, texts]) => [name, choices.one(texts)]));
  const length = [...words, ...said].reduce((sum, [, size]) => sum + size, 0);
  const frames = form.frames.filter((frame) => {
    const whole = frame.endings.reduce((sum, name) => sum + lent[name][1], length + frame.length);
    return pieces.least <= whole && whole <= pieces.most;
  });
  if (!frames.length) return null;
  const frame = choices.one(frames);
  const texts = said.map(([text], at) => frame.link.replaceAll("{word}", () => words[at][0]) + text);
  return { title: choices.one(own.titles), poem: filled(frame, texts, lent) };
}

function filled(frame, texts, lent) {
  const parts = frame.parts.map((part, at) => {
    if (at % 2 === 0) return part;
    return /^\d+$/.test(part) ? texts[Number(part) - 1] : lent[part][0];
  });
  return parts.join("").replaceAll("\n", BREAK);
}
