// Misses and votes wait on the device until a server is reachable. Each has an id, by which the server
// counts it once, however often it is sent.

const MOST = 500;
const AT_ONCE = 50;
const EVERY = 60_000;

/** A value that this browser keeps; without storage, as in some private windows, none. */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`tsukurioki-${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`tsukurioki-${name}`, JSON.stringify(value));
  } catch (error) {
    console.warn(`not kept: ${name}: ${error}`);
  }
}

// Not randomUUID(): browsers have that on https and localhost only.
const freshId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16).padStart(8, "0")).join("");

export class Outbox {
  #edition;
  #name;
  #sending = null;
  #notBefore = 0;

  constructor(edition) {
    this.#edition = edition;
    this.#name = `outbox-${edition.deck}`;
    if (!edition.collect) return;
    addEventListener("online", () => this.send());
    setInterval(() => this.send(), EVERY);
    this.send();
  }

  /** Keep an item, and try to send it; of too many, the oldest are dropped. */
  add(item) {
    keep(this.#name, [...kept(this.#name, []), { id: freshId(), ...item }].slice(-MOST));
    this.send();
  }

  /** Send what waits, some at a time, until the server has it or wants a pause. */
  send() {
    if (this.#edition.collect && Date.now() >= this.#notBefore) this.#sending ??= this.#sendAll().finally(() => { this.#sending = null; });
    return this.#sending;
  }

  async #sendAll() {
    for (let done = [""]; done.length;) {
      const items = kept(this.#name, []).slice(0, AT_ONCE);
      if (!items.length) return;
      try {
        done = await this.#post(items);
      } catch (error) {
        console.info(`not sent yet: ${error}`);
        return;
      }
      keep(this.#name, kept(this.#name, []).filter(({ id }) => !done.includes(id)));
    }
  }

  async #post(items) {
    const body = JSON.stringify({ deck: this.#edition.deck, items });
    const response = await fetch(this.#edition.collect, {
      method: "POST", body, headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(20_000),
    });
    if (!response.ok) throw new Error(String(response.status));
    const { done, wait } = await response.json();
    this.#notBefore = Date.now() + 1000 * wait;
    return done;
  }
}
