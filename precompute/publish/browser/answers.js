// The ladder of the server (app/kinds/cards/tiers.py) over the files of an edition. It knows neither
// page nor network: `load` gives the value of a JSON file by its path.
import { compose } from "./composer.js";
import { query } from "./key.js";
import { frame } from "./template.js";

const LIST = 256;
const HANDS = 512;

/** @typedef {{card: string, phrase: string}[]} Hand */

export class Answers {
  #edition;
  #load;
  #lasting = new Map();

  /** @param {any} edition  edition.json @param {(path: string) => Promise<any>} load */
  constructor(edition, load) {
    this.#edition = edition;
    this.#load = load;
  }

  /** What is asked for by every play is loaded once. */
  #once(path) {
    if (!this.#lasting.has(path)) {
      const loading = this.#load(path);
      this.#lasting.set(path, loading);
      loading.catch(() => this.#lasting.delete(path));
    }
    return this.#lasting.get(path);
  }

  /** The first answer that a tier has, as the server would send it; null if none has one. @param {Hand} hand */
  async answer(hand, variant = 0) {
    const asked = query(this.#edition.deck, hand.map(({ card, phrase }) => [card, phrase]));
    const tiers = {
      exact: async () => (await this.#stored(asked))[asked.key]?.answers[variant],
      same_hand: async () => nearest(await this.#stored(asked), asked, variant, this.#edition.radius),
      composed: () => this.#made("composed", compose, asked, variant),
      template: () => this.#made("template", frame, asked, variant),
    };
    for (const name of this.#edition.tiers) {
      const found = await tiers[name]();
      if (found) return found;
    }
    return null;
  }

  /** What is stored for the cards of a play, by key. */
  async #stored({ handKey }) {
    const { bits, lists } = this.#edition.stored;
    if (!lists.length) return {};
    const at = Math.floor(parseInt(handKey.slice(0, 8), 16) / 2 ** (32 - bits));
    const names = await this.#once(`files/${lists[Math.floor(at / LIST)]}.json`);
    const name = names[at % LIST];
    return (name && (await this.#load(`files/${name}.json`))[handKey]) || {};
  }

  async #made(tier, make, asked, variant) {
    const { path, source, model } = this.#edition.made[tier];
    const made = make(await this.#once(path), asked, variant);
    return made && { ...made, deck: asked.deck, key: asked.key, variant, source, model, tier };
  }

  /** A hand of card objects from stock, the `number`-th of this device; any legal hand if there is none. */
  async deal(number) {
    const { hand, cards } = await this.#once(this.#edition.cards);
    const { stock, stored } = this.#edition;
    if (!stock.length) return { mode: "random", cards: drawn(cards, hand) };
    const at = number % stored.hands;
    const hands = await this.#once(stock[Math.floor(at / HANDS)]);
    return { mode: "stocked", cards: hands[at % HANDS].map((place) => cards[place]) };
  }

  /** Which cards lead to a hand in stock, as the server says it (app/kinds/cards/stocked.py). @param {string[]} chosen */
  async leads(chosen) {
    const { cards } = await this.#once(this.#edition.cards);
    const files = await Promise.all(this.#edition.stock.map((path) => this.#once(path)));
    const hands = files.flat().map((hand) => new Set(hand.map((place) => cards[place].id)));
    const category = new Map(cards.map((card) => [card.id, card.category]));
    const leading = (card) => {
      const others = chosen.filter((one) => category.get(one) !== category.get(card));
      return hands.some((hand) => hand.has(card) && others.every((one) => hand.has(one)));
    };
    return {
      hands: hands.filter((hand) => chosen.every((one) => hand.has(one))).length,
      cards: cards.map((card) => card.id).filter(leading),
      otherwise: this.#edition.tiers.find((tier) => tier in this.#edition.made) ?? null,
    };
  }

  /** How many hands there are in stock. */
  get hands() {
    return this.#edition.stock.length ? this.#edition.stored.hands : 0;
  }
}

function nearest(plays, asked, variant, radius) {
  const near = Object.entries(plays)
    .filter(([, { answers }]) => answers[0])
    .map(([key, { phrases }]) => ({ key, differing: asked.picks.filter(([, phrase], i) => phrase !== phrases[i]).length }))
    .filter(({ differing }) => differing > 0 && differing <= radius)
    .sort((a, b) => a.differing - b.differing || (a.key < b.key ? -1 : 1));
  const found = near[variant];
  const body = found && plays[found.key].answers[0];
  return body && { ...body, tier: "same_hand", shared: asked.picks.length - found.differing };
}

/** Cards drawn one by one; a card of a repeated category is drawn again. */
function drawn(cards, size) {
  const hand = new Map();
  while (hand.size < size) {
    const card = cards[Math.floor(Math.random() * cards.length)];
    if (!hand.has(card.category)) hand.set(card.category, card);
  }
  return [...hand.values()];
}
