// The start page of several decks: visitors choose one, and the language of its pages.
import { make } from "./dom.js";
import { shut, watchIdle } from "./kiosk.js";
import { PAGE, dressIn } from "./page.js";
import { pictureElement, toneOf } from "./picture.js";
import { STRINGS, dressLanguage, firstLanguage, nextLanguage } from "./strings.js";

const asked = new URLSearchParams(location.search);
const kiosk = asked.has("kiosk");
const stage = document.querySelector("#stage");
const button = document.querySelector("#language");
const first = firstLanguage(location, kiosk);
let language = first;

function enter({ id, path }, spoken) {
  location.assign(`${path}?${new URLSearchParams({ deck: id, lang: spoken, ...(kiosk ? { kiosk: asked.get("kiosk") } : {}) })}`);
}

/** The language in which a deck is entered by its name: the page's, if the deck's pages have it. */
const spokenIn = (one) => (one.languages.some(([spoken]) => spoken === language) ? language : one.language);

/** @param {import("./page.js").Theme & import("./page.js").Choice} one */
function tile(one, at) {
  const name = [`deck|${one.id}`, `deck|${one.id}|1`, `deck|${one.id}|2`].find((picture) => toneOf(picture, one) === "dark") ?? `deck|${one.id}`;
  const made = make("li.deck", { "data-deck": one.id, "data-type": one.type },
    make("button.enter", { type: "button", lang: one.language, "data-focus": at === 0, onclick: () => enter(one, spokenIn(one)) },
      pictureElement(name, { theme: one }),
      make("span.deck-name", {}, one.name),
      make("span.deck-lines", {}, one.lines.join(one.language === "ja" || one.language === "zh" ? "" : " "))),
    make("div.languages", { role: "group", "aria-label": one.name },
      ...one.languages.map(([spoken, named]) => make("button.spoken", { type: "button", lang: spoken, onclick: () => enter(one, spoken) }, named))));
  dressIn(one, made);
  return made;
}

function render() {
  dressLanguage(button, language);
  stage.replaceChildren(make("section.screen.decks", { "aria-labelledby": "choose-deck" },
    make("h1", { id: "choose-deck", tabindex: -1 }, STRINGS[language].chooseDeck),
    make("ul.tiles", {}, ...PAGE.decks.map(tile))));
}

button.addEventListener("click", () => {
  language = nextLanguage(language);
  render();
});
render();
if (kiosk) {
  shut();
  watchIdle(() => Number(document.body.dataset.idle), {
    busy: () => language !== first,
    warn: () => {},
    leave: () => { language = first; render(); },
  });
}
document.body.dataset.ready = "yes";
