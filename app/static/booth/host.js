// What the host's two pages share: the language, the token, and polling that never gives up.
import { Refused, ask, rememberToken } from "./api.js";
import { make } from "./dom.js";
import { numbersOf } from "./numbers.js";
import { PAGE } from "./page.js";
import { STRINGS, dressLanguage, firstLanguage, nextLanguage } from "./strings.js";

/** The page's language, kept, with the button that changes it. @param {() => void} changed */
export function languageSwitch(changed) {
  let language = firstLanguage(location, false);
  const button = document.querySelector("#language");
  const dress = () => dressLanguage(button, language);
  button.addEventListener("click", () => {
    language = nextLanguage(language);
    localStorage.setItem("tsukurioki-language", language);
    dress();
    changed();
  });
  dress();
  return {
    get language() { return language; },
    get words() { return STRINGS[language]; },
    get numbers() { return numbersOf(language); },
  };
}

/** Links to the same page of the other decks, where there are several. @param {string} deck  the one shown */
export function deckLinks(deck, label) {
  if (!PAGE.decks) return null;
  return make("nav.deck-links", { "aria-label": label }, ...PAGE.decks.filter(({ id, path }) => id !== deck && path === "/")
    .map(({ id, name, language, type }) => make("a", { href: `?${new URLSearchParams({ deck: id })}`, lang: language, "data-type": type }, name)));
}

/**
 * Ask for the token until the server takes it.
 * @param {HTMLElement} stage @param {Record<string, any>} words @param {string} path  what it opens
 */
export function admit(stage, words, path, wrong = false) {
  return new Promise((opened) => {
    const input = make("input", { type: "password", autocomplete: "current-password", required: true, "aria-labelledby": "token-title", "aria-describedby": "token-wrong" });
    const told = make("p.wrong", { id: "token-wrong", role: "alert" }, wrong ? words.tokenWrong : "");
    const form = make("form.token", {}, make("h1", { id: "token-title" }, words.tokenTitle), make("p", {}, words.tokenLead),
      input, told, make("button.primary", { type: "submit" }, words.tokenSend));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      rememberToken(input.value);
      try {
        const value = await ask(path);
        form.remove();
        opened(value);
      } catch (error) {
        told.textContent = error instanceof Refused ? words.tokenWrong : words.hostAway;
        input.select();
      }
    });
    stage.replaceChildren(form);
    input.focus();
  });
}

/**
 * Ask again and again.
 * @param {number} every  milliseconds
 * @param {{got: (value: any) => void, away: (away: boolean) => void, refused: () => Promise<void>}} hooks
 */
export async function poll(path, every, { got, away, refused }) {
  for (;;) {
    try {
      const value = await ask(path);
      away(false);
      got(value);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) await refused();
      else away(true);
    }
    await new Promise((resume) => { setTimeout(resume, every); });
  }
}
