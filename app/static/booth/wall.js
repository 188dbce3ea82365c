// The wall: one flyer at a time, changing slowly; a new one comes to the front.
import { ask, rememberedToken } from "./api.js";
import { headline, make } from "./dom.js";
import { front } from "./flyer.js";
import { admit, deckLinks, languageSwitch, poll } from "./host.js";
import { PAGE } from "./page.js";
import { pictureElement } from "./picture.js";
import { playName } from "./seed.js";

const POLL = 2500;
const CHANGE = 1000 * Math.max(2, Number(new URLSearchParams(location.search).get("every")) || 12);
const SURE = 4000;
const { deck, name, guarded } = document.body.dataset;
const LIST = `/api/wall?deck=${deck}`;
const stage = document.querySelector("#stage");
const notice = document.querySelector("#notice");

const wall = { flyers: [], shown: null, newest: null, since: 0 };
const host = languageSwitch(() => build(true));

function found({ flyers }) {
  const newest = flyers[0]?.id ?? null;
  const arrived = newest !== wall.newest && newest !== null;
  const gone = wall.shown && !flyers.some((flyer) => flyer.id === wall.shown);
  const changed = JSON.stringify(flyers) !== JSON.stringify(wall.flyers);
  Object.assign(wall, { flyers, newest });
  if (arrived || gone || !stage.firstChild || (!wall.shown && flyers.length)) show(flyers[0] ?? null);
  else if (changed) list();
}

function next() {
  if (wall.flyers.length < 2 || performance.now() - wall.since < CHANGE) return;
  const at = wall.flyers.findIndex((flyer) => flyer.id === wall.shown);
  show(wall.flyers[(at + 1) % wall.flyers.length]);
}

function show(flyer) {
  wall.shown = flyer?.id ?? null;
  wall.since = performance.now();
  build(false);
}

function build(still) {
  if (document.querySelector(".token")) return;
  const flyer = wall.flyers.find((one) => one.id === wall.shown);
  const old = stage.querySelector(".hung");
  const hung = make("div.hung", {}, flyer ? sheet(flyer) : empty());
  hung.classList.toggle("still", still);
  if (stage.querySelector(".wall")) stage.querySelector(".hangings").append(hung);
  else stage.replaceChildren(make("section.wall", {}, make("div.hangings", {}, hung), make("div.wall-foot")));
  if (old) setTimeout(() => old.remove(), still ? 0 : 1600);
  old?.setAttribute("inert", "");
  list();
}

function sheet(flyer) {
  const text = { ...flyer, play: playName(deck, flyer.hand), name };
  return make("article.sheet", { "data-flyer": flyer.id }, front(text, host.words));
}

function empty() {
  return make("div.empty", {}, make("div.attract-view", {}, pictureElement(`wall|${deck}`, { veil: 0.5 })),
    make("div.empty-text", {}, headline(make("h1.slogan", { lang: PAGE.language }), host.words.wallEmpty), make("p.lead", {}, host.words.wallEmptyLead)));
}

/** The latest titles, and what only the host uses: it stays out of sight until somebody stirs. */
function list() {
  const { words } = host;
  const foot = stage.querySelector(".wall-foot");
  if (!foot || foot.contains(document.activeElement)) return;
  const titles = wall.flyers.slice(0, 5).map((flyer) => make("li", flyer.id === wall.shown ? { "aria-current": "true" } : {}, flyer.title));
  foot.replaceChildren(make("p.wall-name", {}, words.wall), make("ol.titles", { lang: PAGE.language }, ...titles),
    make("div.host-only", { role: "group", "aria-label": words.controls },
      deckLinks(deck, words.chooseDeck),
      sure(words.takeDown, "take-down", () => takeDown(`/api/wall/${wall.shown}`), !wall.shown),
      sure(words.clearWall, "clear-wall", () => takeDown(LIST), !wall.flyers.length)));
}

/** A button that has to be pressed twice. */
function sure(label, className, act, disabled) {
  const button = make(`button.${className}`, { type: "button", disabled }, label);
  let armed = -Infinity;
  button.addEventListener("click", () => {
    if (performance.now() - armed < SURE) {
      button.blur();
      act();
      return;
    }
    armed = performance.now();
    button.textContent = host.words.really;
    setTimeout(() => { button.textContent = label; }, SURE);
  });
  return button;
}

async function takeDown(path) {
  await ask(path, { method: "DELETE" }).catch(() => {});
  found(await ask(LIST));
  document.querySelector("#said").textContent = host.words.takenDown;
}

let resting = 0;
for (const name_ of ["pointermove", "pointerdown", "keydown"]) {
  addEventListener(name_, () => {
    document.body.classList.add("stirred");
    clearTimeout(resting);
    resting = setTimeout(() => document.body.classList.remove("stirred"), 5000);
  });
}

document.body.dataset.ready = "yes";
if (guarded === "yes" && !rememberedToken()) found(await admit(stage, host.words, LIST));
setInterval(next, 500);
poll(LIST, POLL, {
  got: found,
  away(away) {
    notice.hidden = !away;
    notice.textContent = away ? host.words.hostAway : "";
  },
  refused: async () => found(await admit(stage, host.words, LIST, true)),
});
