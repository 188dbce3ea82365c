// The visitor picks the cards: one of a category, and a mark on those that lead to a text in stock.
import { make } from "../dom.js";
import { PAGE } from "../page.js";

/** @param {import("../game.js").Scene} scene */
export function choose({ state, words, actions }) {
  const categories = [...new Set(state.all.map((card) => card.category))];
  const screen = make("section.screen.choose", { "aria-labelledby": "choose-title" },
    make("header.ask", {},
      make("h1", { id: "choose-title", tabindex: -1 }, words.chooseHand(PAGE.hand)),
      make("p.legend", { id: "in-stock" }, make("span.mark", { "aria-hidden": "true" }), words.chooseLead)),
    make("div.kinds", {}, ...categories.map((category, i) => kind(category, state.all.filter((card) => card.category === category), i, actions))),
    make("div.foot", {},
      make("p.chosen", { role: "status", "data-room": longest(words) }, make("span")),
      make("button.quiet.surprise", { type: "button", onclick: actions.deal }, words.chooseDeal),
      make("button.primary.go", { type: "button", onclick: actions.rephrase }, words.rephrase)));
  screen.addEventListener("keydown", (event) => byKey(event, [...screen.querySelectorAll(".option")]));
  showChosen(screen, state, words);
  return screen;
}

function kind(category, cards, i, actions) {
  const options = cards.map((card, at) => make("button.option", {
    type: "button", "data-card": card.id, "data-focus": i === 0 && at === 0, onclick: () => actions.take(card),
  }, make("span.mark", { "aria-hidden": "true" }), card.condition_text));
  return make("div.kind", { role: "group", "aria-labelledby": `kind-${i}`, lang: PAGE.language },
    make("h2", { id: `kind-${i}` }, category), ...options);
}

/** The longest text that may be told of what is chosen. */
function longest(words) {
  const told = [words.chooseReady, ...Object.values(words.tiers).map(words.chooseMade)];
  const most = told.reduce((one, other) => (other.length > one.length ? other : one));
  return `${words.chosen(PAGE.hand, PAGE.hand)} ${most}`;
}

/** Whether a card may be taken now. A hand that no tier would answer is not offered. */
export function mayTake(card, { cards, leads }) {
  const others = cards.filter((one) => one.category !== card.category);
  return others.length < PAGE.hand && (!leads || Boolean(leads.otherwise) || leads.cards.includes(card.id));
}

/** Show what is chosen without making the screen anew, which would lose focus and place. */
export function showChosen(screen, state, words) {
  const { cards, leads } = state;
  const stocked = new Set(leads?.cards);
  const whole = cards.length === PAGE.hand;
  const led = leads?.of === cards;
  const dead = led && cards.length > 0 && leads.hands === 0;
  screen.dataset.led = led ? "yes" : "no";
  for (const button of screen.querySelectorAll(".option")) {
    const card = state.all.find((one) => one.id === button.dataset.card);
    const chosen = cards.includes(card);
    button.setAttribute("aria-pressed", String(chosen));
    button.setAttribute("aria-disabled", String(!chosen && !mayTake(card, state)));
    button.toggleAttribute("data-stocked", stocked.has(card.id));
    if (stocked.has(card.id)) button.setAttribute("aria-describedby", "in-stock");
    else button.removeAttribute("aria-describedby");
  }
  oneStop(screen);
  screen.querySelector(".go").disabled = !whole || (dead && !leads.otherwise);
  const told = [words.chosen(cards.length, PAGE.hand)];
  if (dead && leads.otherwise) told.push(words.chooseMade(words.tiers[leads.otherwise]));
  else if (led && whole && leads.hands) told.push(words.chooseReady);
  screen.querySelector(".chosen span").textContent = told.join(" ");
}

/** The tabulator stops once in each category: at its chosen card, or else where it was last, or first. */
function oneStop(screen) {
  for (const group of screen.querySelectorAll(".kind")) {
    const options = [...group.querySelectorAll(".option")];
    const stop = options.find((option) => option === document.activeElement)
      ?? options.find((option) => option.getAttribute("aria-pressed") === "true") ?? options[0];
    for (const option of options) option.tabIndex = option === stop ? 0 : -1;
  }
}

/** Arrows move from card to card. @param {KeyboardEvent} event @param {HTMLElement[]} options */
function byKey(event, options) {
  const at = options.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: options.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  options[(to + options.length) % options.length].focus();
  oneStop(options[0].closest(".choose"));
}
