// The words of the pages, from `app/kinds/cards/words` and the deck's words.json.
import { PAGE } from "./page.js";

/** @typedef {string} Language */

// Words with places take their values in this order.
const PLACES = {
  step: ["at", "of"], flawOf: ["category"], idle: ["seconds"], handsDealt: ["n"], ofAnswers: ["n"], every: ["label"],
  rehearsed: ["plays", "deal"], ofStocked: ["n"], round: ["n"], entries: ["n"], generation: ["n"], age: ["text"],
  chooseHand: ["n"], chosen: ["at", "of"], chooseMade: ["made"],
  days: ["n"], hours: ["n"], minutes: ["n"], ofAsked: ["n"], wantedNote: ["distinct"], misses: ["n"], kept: ["files", "size"], keeping: ["part"],
};

const filled = (text, places) => (...values) => text.replace(/\{(\w+?)(:kanji)?\}/g, (_, name, inKanji) => {
  const value = values[places.indexOf(name)];
  return inKanji ? kanji(value) : String(value);
});

/** Words as the screens use them: those with places are functions. */
function ready(words) {
  const made = { ...words };
  for (const [name, places] of Object.entries(PLACES)) if (name in words) made[name] = filled(words[name], places);
  const [seconds, minutes] = words.seconds.map((text) => filled(text, ["n"]));
  made.seconds = (n) => (n < 60 ? seconds(n) : minutes(n / 60));
  made.advice = { ...words.advice, misses: filled(words.advice.misses, PLACES.misses) };
  return made;
}

/** @type {Record<Language, Record<string, any>>} */
export const STRINGS = Object.fromEntries(Object.entries(PAGE.words).map(([language, words]) => [language, ready(words)]));
const LANGUAGES = Object.keys(STRINGS);

/** A small number in kanji. @param {number} number */
function kanji(number) {
  const digits = "〇一二三四五六七八九";
  if (number >= 20 || number < 0) return String(number);
  if (number < 10) return digits[number];
  return `十${number > 10 ? digits[number - 10] : ""}`;
}

/** The language after one, for the button that changes it. @param {Language} language */
export const nextLanguage = (language) => LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];

/** Show on the button which language comes next; none where there is only one. */
export function dressLanguage(button, language) {
  document.documentElement.lang = language;
  const next = nextLanguage(language);
  button.hidden = next === language;
  button.textContent = STRINGS[next].language;
  button.lang = next;
}

/** The language to begin with: asked for, remembered, or (off the kiosk) the visitor's own; else the deck's. */
export function firstLanguage(address, kiosk) {
  const asked = new URLSearchParams(address.search).get("lang");
  const remembered = kiosk ? null : localStorage.getItem("tsukurioki-language");
  const own = kiosk ? [] : [...navigator.languages.map((tag) => tag.split("-")[0]), "en"];
  return [asked, remembered, ...own].find((language) => LANGUAGES.includes(language)) ?? PAGE.language;
}
