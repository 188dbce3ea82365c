// A play in the words of the server, and in those of the flyer's back.

/** @param {import("./store.js").State} state */
export const handOf = ({ cards, picks }) => picks.map((phrase, i) => ({ card: cards[i].id, phrase: phrase.id }));

/** @param {import("./store.js").State} state */
export const mattersOf = ({ cards, picks }) => picks.map((phrase, i) => ({
  category: cards[i].category, fact: cards[i].condition_text, said: phrase.poem_text,
}));
