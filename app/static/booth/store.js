// The one place where the page keeps what changes. Screens read it; `set` tells whoever listens.

/**
 * @typedef {{id: string, poem_text: string}} Phrase
 * @typedef {{id: string, category: string, condition_text: string, poems: Phrase[]}} Card
 * @typedef {{title: string, poem: string, tier: string, key: string, variant: number, ballot: string}} Answer
 * @typedef {object} State
 * @property {"start"|"choose"|"deal"|"pick"|"wait"|"flyer"|"sorry"} screen
 * @property {import("./strings.js").Language} language
 * @property {boolean} kiosk
 * @property {number} game      grows with every game, so that what arrives late can be dropped
 * @property {string} visitor   made up for every game: visitors of a kiosk share its address, and each may vote
 * @property {Card[]} all       the deck's, where visitors pick their cards
 * @property {Card[]} cards     the hand, or the part of it that is chosen
 * @property {{hands: number, cards: string[], otherwise: string|null, of: Card[]}|null} leads
 *   where the cards `of` lead, as the server said; while it is asked anew, these are those before
 * @property {Phrase[]} picks   in the order of the cards
 * @property {Answer|null} answer
 * @property {number} variant
 * @property {"front"|"back"} side
 * @property {"up"|"down"|null} vote
 * @property {boolean} away     the server does not answer just now
 * @property {number} leaving   seconds until the kiosk goes back to its start, 0 when it does not
 * @property {string} trouble   a sentence of the server's
 * @property {string} said      what is told to whoever listens to the page
 */

/** @type {Omit<State, "language"|"kiosk"|"game"|"visitor"|"away">} */
const FRESH = {
  screen: "start", all: [], cards: [], leads: null, picks: [], answer: null, variant: 0, side: "front", vote: null,
  leaving: 0, trouble: "", said: "",
};

const listeners = new Set();
// Not randomUUID(): browsers have that on https and localhost only.
const stranger = () => crypto.getRandomValues(new Uint32Array(2)).join("-");

export const store = {
  /** @type {State} */
  state: { ...FRESH, language: "", kiosk: false, game: 0, visitor: stranger(), away: false },

  /** @param {Partial<State>} change */
  set(change) {
    const before = this.state;
    this.state = { ...before, ...change };
    for (const listener of listeners) listener(this.state, before);
  },

  /** Back to the start; answers that are still on their way belong to a game that is over. */
  reset(change = {}) {
    this.set({ ...FRESH, game: this.state.game + 1, visitor: stranger(), ...change });
  },

  /** @param {(state: State, before: State) => void} listener */
  listen(listener) {
    listeners.add(listener);
  },
};
