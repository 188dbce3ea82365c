// Frames the phrases of a play as the server does (app/kinds/cards/template.py). Only published for
// decks of which it is proven that whatever is framed passes the gate.
import { Choices } from "./choices.js";

const BREAK = "\n\n";

/**
 * @typedef {[string, number, string[]]} Text  a text, its length, the cards that it gives away
 * @param {any} frames  what precompute/publish/making.py wrote
 * @param {ReturnType<import("./key.js").query>} query
 * @returns {{title: string, poem: string} | null}
 */
export function frame(frames, query, variant = 0) {
  const choices = new Choices(`${query.canonical}#${variant}`);
  const hand = new Set(query.picks.map(([card]) => card));
  const hides = ([, , cards]) => !cards.some((card) => hand.has(card));
  const titles = choices.shuffled(frames.titles);
  const lines = choices.shuffled(query.picks.map(([card, phrase]) => frames.phrases[card][phrase]));
  const said = lengths(lines);
  const least = Math.max(0, frames.least + frames.gap * frames.paragraphs[1] - said);
  const most = frames.most + frames.gap - said;
  const [openings, links, closings] = [frames.openings, frames.links, frames.closings]
    .map((texts) => choices.shuffled(texts.filter(hides)));
  const stock = [...openings.slice(0, 1), ...closings.slice(0, 1), ...links.slice(0, 3), ...openings.slice(1), ...closings.slice(1), ...links.slice(3)];
  const chosen = fill(stock, least, most);
  if (!chosen) return null;
  return { title: (titles.find(hides) ?? titles[0])[0], poem: layout(frames, lines, chosen, choices) };
}

const lengths = (texts) => texts.reduce((sum, [, length]) => sum + length, 0);

function layout(frames, lines, chosen, choices) {
  const among = (texts) => chosen.filter(([text]) => texts.some(([other]) => other === text));
  const middle = [...lines];
  for (const link of among(frames.links)) middle.splice(1 + choices.below(Math.max(1, middle.length - 1)), 0, link);
  const half = (middle.length + 1) >> 1;
  const blocks = [among(frames.openings), middle.slice(0, half), middle.slice(half), among(frames.closings)];
  return paragraphs(blocks, frames.paragraphs).map((block) => block.map(([text]) => text).join(frames.space)).join(BREAK);
}

/** Split the longest or join the shortest until their number is within the limits. */
function paragraphs(blocks, [fewest, most]) {
  const parts = blocks.filter((block) => block.length);
  while (parts.length < fewest && parts.some((part) => part.length > 1)) {
    const at = parts.reduce((best, part, i) => (part.length > parts[best].length ? i : best), 0);
    const half = (parts[at].length + 1) >> 1;
    parts.splice(at, 1, parts[at].slice(0, half), parts[at].slice(half));
  }
  while (parts.length > Math.max(most, 1)) {
    const both = parts.slice(1).map((part, i) => parts[i].length + part.length);
    const at = both.indexOf(Math.min(...both));
    parts.splice(at, 2, [...parts[at], ...parts[at + 1]]);
  }
  return parts;
}

/** Texts whose lengths add up to the room: the first ones that fit, or any subset. */
function fill(stock, least, most) {
  if (most < 0) return null;
  const chosen = [];
  let length = 0;
  for (const text of stock) {
    if (length >= least) return chosen;
    if (length + text[1] <= most) {
      chosen.push(text);
      length += text[1];
    }
  }
  return length >= least ? chosen : addUp(stock, least, most);
}

/** A subset whose lengths add up to the room, by dynamic programming (subset sum). */
function addUp(stock, least, most) {
  const reached = new Map([[0, []]]);
  for (const text of stock) {
    for (const [length, texts] of [...reached].sort(([a], [b]) => b - a)) {
      const total = length + text[1];
      if (total > most || reached.has(total)) continue;
      reached.set(total, [...texts, text]);
      if (total >= least) return reached.get(total);
    }
  }
  return null;
}
