// The same play gives the same numbers, in every browser: an integer hash and an integer generator.

/**
 * What a play is called here: its picks by their ids, in an order of their own.
 * The text's variant and the tier that wrote it are left out, so that the picture stays the play's.
 * @param {string} deck
 * @param {{card: string, phrase: string}[]} hand
 */
export function playName(deck, hand) {
  return [deck, ...hand.map(({ card, phrase }) => `${card}=${phrase}`).sort()].join("|");
}

/** 128 bits of a text as four integers (cyrb128). @param {string} text */
function hash(text) {
  let [a, b, c, d] = [1779033703, 3144134277, 1013904242, 2773480762];
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    a = b ^ Math.imul(a ^ code, 597399067);
    b = c ^ Math.imul(b ^ code, 2869860233);
    c = d ^ Math.imul(c ^ code, 951274213);
    d = a ^ Math.imul(d ^ code, 2716044179);
  }
  a = Math.imul(c ^ (a >>> 18), 597399067);
  b = Math.imul(d ^ (b >>> 22), 2869860233);
  c = Math.imul(a ^ (c >>> 17), 951274213);
  d = Math.imul(b ^ (d >>> 19), 2716044179);
  a ^= b ^ c ^ d;
  return [a, b ^ a, c ^ a, d ^ a].map((word) => word >>> 0);
}

/** A short name for a file, the same for the same play. @param {string} text */
export function shortName(text) {
  return hash(text).slice(0, 2).map((word) => word.toString(16).padStart(8, "0")).join("");
}

/**
 * @typedef {object} Chance
 * @property {() => number} next                            from 0 up to, not including, 1
 * @property {(from: number, to: number) => number} between
 * @property {(from: number, to: number) => number} whole   both ends included
 * @property {<T>(list: T[]) => T} pick
 * @property {(label: string) => Chance} fork               numbers of its own for one part: a part
 *   that draws more of them on a larger canvas does not move the others
 */

/** Numbers that follow from a text (sfc32). @param {string} text @returns {Chance} */
export function chance(text) {
  let [a, b, c, d] = hash(text);
  function next() {
    const t = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4294967296;
  }
  for (let i = 0; i < 12; i += 1) next();
  const whole = (from, to) => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    whole,
    between: (from, to) => from + next() * (to - from),
    pick: (list) => list[whole(0, list.length - 1)],
    fork: (label) => chance(`${text}/${label}`),
  };
}
