// Choices from a seed, the same as the server's: app/kinds/cards/choices.py says how and why.
import { raw, xxh3 } from "./key.js";

export class Choices {
  #seed;
  #round = 0n;
  #pool = 0n;

  /** @param {string} seed  one character for each byte */
  constructor(seed) {
    this.#seed = raw(seed);
  }

  /** A number from 0 to `count` - 1. */
  below(count) {
    if (this.#pool < 1n << 32n) {
      this.#round += 1n;
      this.#pool = xxh3(this.#seed, this.#round);
    }
    const choice = this.#pool % BigInt(count);
    this.#pool /= BigInt(count);
    return Number(choice);
  }

  one(items) {
    return items[this.below(items.length)];
  }

  /** The items rotated to begin with a drawn one. */
  turned(items) {
    const start = this.below(items.length);
    return [...items.slice(start), ...items.slice(0, start)];
  }

  shuffled(items) {
    const mixed = [...items];
    for (let last = mixed.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
    }
    return mixed;
  }
}
