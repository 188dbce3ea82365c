// The game: which screen is shown, and what each touch does.
import { Refused, ask, insist } from "./api.js";
import { shut, watchIdle } from "./kiosk.js";
import { handOf, mattersOf } from "./play.js";
import { PAGE } from "./page.js";
import { choose, mayTake, showChosen } from "./screens/choose.js";
import { deal } from "./screens/deal.js";
import { flyer, showSide } from "./screens/flyer.js";
import { pick } from "./screens/pick.js";
import { sorry } from "./screens/sorry.js";
import { start } from "./screens/start.js";
import { wait } from "./screens/wait.js";
import { shortName } from "./seed.js";
import { store } from "./store.js";
import { STRINGS, dressLanguage, firstLanguage, nextLanguage } from "./strings.js";

/**
 * @typedef {object} Page  what the server said with the page
 * @property {string} deck @property {string} name @property {string[]} titles
 * @property {number} idle
 * @property {boolean} mayLeave  whether files may be handed out
 * @property {boolean} mayPrint
 * @property {string} home  the page that lets visitors choose a deck, if there are several
 *
 * @typedef {object} Scene
 * @property {import("./store.js").State} state
 * @property {Record<string, any>} words
 * @property {Record<string, Function>} actions
 * @property {Page} page
 * @property {boolean} arrived  the screen is new, and not the same in the other language
 * @property {boolean} still    whoever looks asked for no motion
 */

const BEAT = 1100;
const SCREENS = { start, choose, deal, pick, wait, flyer, sorry };

const asked = new URLSearchParams(location.search);
const kiosk = asked.has("kiosk");
const data = document.body.dataset;
/** @type {Page} */
const page = {
  deck: data.deck, name: data.name, titles: JSON.parse(data.titles), idle: Number(data.idle),
  // A dialogue for files or printers is a way out of the kiosk. A browser that prints without one
  // (--kiosk-printing) is told so by /?kiosk=print.
  mayLeave: !kiosk, mayPrint: !kiosk || asked.get("kiosk") === "print",
  home: PAGE.decks ? `/?${new URLSearchParams(kiosk ? { kiosk: asked.get("kiosk") } : {})}` : "",
};
const stage = document.querySelector("#stage");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const words = () => STRINGS[store.state.language];
let skipBeat = () => {};

/** Ask the server for something that the game cannot go on without. */
async function needed(path, options = {}) {
  const { game } = store.state;
  const wanted = () => store.state.game === game;
  try {
    const value = await insist(path, { ...options, wanted, onAway: (away) => store.state.away !== away && store.set({ away }) });
    return wanted() ? value : null;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (wanted()) store.set({ screen: "sorry", trouble: error.message });
    return null;
  }
}

const actions = {
  begin: () => (PAGE.choose ? actions.layOut() : actions.deal()),
  home: () => location.replace(page.home),
  async deal() {
    const { screen } = store.state;
    const dealt = await needed(`/api/decks/${page.deck}/deal`);
    if (dealt && store.state.screen === screen) store.set({ screen: "deal", cards: dealt.cards });
  },
  /** Lay out all cards, to pick some. */
  async layOut() {
    const deck = await needed(`/api/decks/${page.deck}`);
    if (!deck || store.state.screen !== "start") return;
    store.set({ screen: "choose", all: deck.cards, cards: [], leads: null });
    lead();
  },
  take(card) {
    const { cards } = store.state;
    if (cards.includes(card)) store.set({ cards: cards.filter((one) => one !== card) });
    else if (mayTake(card, store.state)) store.set({ cards: [...cards.filter((one) => one.category !== card.category), card] });
    else return;
    lead();
  },
  rephrase: () => store.set({ screen: "pick", picks: [] }),
  choose(phrase, card) {
    const { screen, picks, cards } = store.state;
    if (screen !== "pick" || cards[picks.length] !== card) return;
    store.set({ picks: [...picks, phrase] });
    if (store.state.picks.length === cards.length) write(0);
  },
  earlier: () => store.set({ picks: store.state.picks.slice(0, -1) }),
  skip: () => skipBeat(),
  turn: () => store.set({ side: store.state.side === "front" ? "back" : "front" }),
  again: () => write(store.state.variant + 1),
  next: () => store.reset(),
  async vote(vote) {
    const { answer, visitor } = store.state;
    store.set({ vote, said: words().thanks });
    // A vote is worth one try: it is not worth keeping a visitor waiting.
    await ask(`/api/answers/${answer.key}/feedback`, { method: "POST", body: { vote, variant: answer.variant, deck: page.deck, ballot: answer.ballot, visitor } }).catch(() => {});
  },
  async save(text) {
    const { side } = store.state;
    const { image, handOver } = await import("./png.js");
    handOver(await image(side, text, mattersOf(store.state), words()), `tsukurioki-${shortName(text.play)}-${side}.png`);
    store.set({ said: words().saved });
  },
};

/** Ask where the chosen cards lead to. Without an answer nothing is marked, and all can be chosen. */
async function lead() {
  const { cards } = store.state;
  const query = new URLSearchParams(cards.map((card) => ["card", card.id]));
  const leads = await ask(`/api/decks/${page.deck}/stock?${query}`).catch(() => null);
  if (store.state.screen === "choose" && store.state.cards === cards) store.set({ leads: leads && { ...leads, of: cards } });
}

async function write(variant) {
  store.set({ screen: "wait", variant, side: "front", vote: null });
  const hand = handOf(store.state);
  const beat = new Promise((resolve) => {
    skipBeat = resolve;
    setTimeout(resolve, BEAT);
  });
  let arrived = false;
  const asked = needed(`/api/decks/${page.deck}/answer`, { method: "POST", body: { hand, variant } }).finally(() => { arrived = true; });
  await beat;
  // What is stored has long arrived. A model that writes takes seconds, and the server bounds them.
  if (!arrived) sayWriting();
  const answer = await asked;
  if (!answer || store.state.screen !== "wait") return;
  store.set({ screen: "flyer", answer, said: variant ? words().rewritten : "" });
  ask(`/api/wall?deck=${page.deck}`, { method: "POST", body: { hand, variant } }).catch(() => {});
}

function sayWriting() {
  const screen = stage.querySelector(".wait");
  if (!screen) return;
  screen.querySelector(".beat").textContent = words().writing;
  screen.querySelector(".hint").hidden = true;
  store.set({ said: words().writing });
}

function render(arrived, first = false) {
  const { state } = store;
  const made = SCREENS[state.screen]({ state, words: words(), actions, page, arrived, still: still.matches });
  stage.dataset.screen = state.screen;
  stage.replaceChildren(made);
  scrollTo(0, 0);
  if (arrived && !first) (made.querySelector("[data-focus]") ?? made.querySelector("h1, h2"))?.focus({ preventScroll: true });
}

/** Some changes do not need the screen anew: a vote, a turn, a card are shown where they happened. */
function touchUp(state) {
  const choosing = stage.querySelector(".choose");
  if (choosing) showChosen(choosing, state, words());
  const screen = stage.querySelector(".flyer");
  if (!screen) return;
  showSide(screen, state.side);
  screen.querySelector(".turn").textContent = state.side === "front" ? words().turn : words().turnBack;
  for (const button of screen.querySelectorAll(".vote")) {
    button.disabled = state.vote !== null;
    button.setAttribute("aria-pressed", String(button.dataset.vote === state.vote));
  }
}

function dress(state) {
  dressLanguage(document.querySelector("#language"), state.language);
}

function tell(state) {
  const notice = document.querySelector("#notice");
  const line = state.away ? words().away : state.leaving ? words().idle(state.leaving) : "";
  notice.hidden = !line;
  if (notice.textContent !== line) notice.textContent = line;
  const said = document.querySelector("#said");
  if (said.textContent !== state.said) said.textContent = state.said;
}

store.listen((state, before) => {
  const game = state.screen !== before.screen || state.game !== before.game;
  const step = state.screen === "pick" && state.picks.length !== before.picks.length && state.picks.length < state.cards.length;
  if (state.language !== before.language) dress(state);
  if (game || step) render(true);
  else if (state.language !== before.language) render(false);
  else touchUp(state);
  tell(state);
});

document.querySelector("#language").addEventListener("click", () => {
  const language = nextLanguage(store.state.language);
  if (!kiosk) localStorage.setItem("tsukurioki-language", language);
  store.set({ language });
});

// A single button is all that a booth may have: it begins even where nothing has been focused yet.
document.addEventListener("keydown", (event) => {
  const idle = document.activeElement === document.body || document.activeElement === null;
  if (store.state.screen === "start" && idle && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    actions.begin();
  }
});

const language = firstLanguage(location, kiosk);
store.set({ language, kiosk });
dress(store.state);
render(true, true);
if (kiosk) {
  shut();
  watchIdle(() => page.idle, {
    busy: () => Boolean(page.home) || store.state.screen !== "start" || store.state.language !== language,
    warn: (leaving) => leaving !== store.state.leaving && store.set({ leaving }),
    leave: () => (page.home ? actions.home() : store.reset({ language })),
  });
}
document.body.dataset.ready = "yes";
