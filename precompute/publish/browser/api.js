// What the booth's pages ask their server for, answered from the files of the edition. It stands in
// the place of the server's api.js, which is here as server.js.
import { Answers } from "../edition/answers.js";
import { Outbox, kept, keep } from "../edition/outbox.js";
import { Away, Refused, insisting } from "./server.js";

export { Away, Refused, rememberToken, rememberedToken } from "./server.js";

const WHOLE = ["exact", "same_hand"];
const FLYERS = 24;
const edition = JSON.parse(document.querySelector("#edition").textContent);
const answers = new Answers(edition, load);
const outbox = new Outbox(edition);
// The plays whose answers this page has shown, by what names them in a vote.
const shown = new Map();

/** A file's value. What the browser's cache has may be a portal's page that came in its place. */
async function load(path) {
  let fault;
  for (const cache of ["default", "reload"]) {
    try {
      const response = await fetch(path, { cache });
      if (response.ok) return await response.json();
      fault = response.status;
    } catch (error) {
      fault = error;
    }
  }
  throw new Away(`${path}: ${fault}`);
}

/** Every stocked hand once before any is dealt again, in an order of this device's own. */
async function deal() {
  const count = answers.hands;
  let dealt = kept(`dealt-${edition.deck}`, {});
  if (dealt.count !== count) dealt = { count, number: 0, start: Math.floor(Math.random() * count), step: coprime(count) };
  const hand = await answers.deal(dealt.start + dealt.number * dealt.step);
  keep(`dealt-${edition.deck}`, { ...dealt, number: (dealt.number + 1) % Math.max(1, count) });
  return { deck: edition.deck, ...hand };
}

function coprime(count) {
  const common = (a, b) => (b ? common(b, a % b) : a);
  let step = 1 + Math.floor(Math.random() * count);
  while (common(step, count) > 1) step += 1;
  return step;
}

async function answer({ hand, variant }) {
  const found = await answers.answer(hand, variant);
  if (!found) throw new Refused(404, "");
  if (!WHOLE.includes(found.tier)) outbox.add({ hand, variant });
  shown.set(`${found.key} ${found.variant}`, { hand, variant, key: found.key, created: found.created });
  return found;
}

async function vote({ vote: way, variant, visitor }, key) {
  const play = shown.get(`${key} ${variant}`);
  if (play) outbox.add({ ...play, vote: way, visitor });
  return null;
}

// The wall is that of this browser: another window of it, on a second screen, shows it.
const wall = `wall-${edition.deck}`;

async function hang({ hand, variant }) {
  const { key: id, title, poem, tier } = await answers.answer(hand, variant);
  const name = JSON.stringify(hand);
  const others = kept(wall, []).filter((flyer) => JSON.stringify(flyer.hand) !== name);
  keep(wall, [{ id: `${id}-${Date.now()}`, hand, shown: new Date().toISOString(), title, poem, tier }, ...others].slice(0, FLYERS));
  return null;
}

async function takeDown(_, id) {
  keep(wall, id ? kept(wall, []).filter((flyer) => flyer.id !== id) : []);
  return null;
}

const ROUTES = [
  ["GET", /^\/api\/decks\/[^/]+$/, () => load(edition.cards)],
  ["GET", /^\/api\/decks\/[^/]+\/stock$/, (_, __, query) => answers.leads(query.getAll("card"))],
  ["GET", /^\/api\/decks\/[^/]+\/deal$/, deal],
  ["POST", /^\/api\/decks\/[^/]+\/answer$/, answer],
  ["POST", /^\/api\/answers\/(\w+)\/feedback$/, vote],
  ["GET", /^\/api\/wall$/, async () => ({ flyers: kept(wall, []) })],
  ["POST", /^\/api\/wall$/, hang],
  ["DELETE", /^\/api\/wall(?:\/(.+))?$/, takeDown],
];

export async function ask(path, { method = "GET", body } = {}) {
  const { pathname, searchParams } = new URL(path, location.origin);
  for (const [own, pattern, handle] of ROUTES) {
    const found = own === method && pattern.exec(pathname);
    if (found) return handle(body, found[1], searchParams);
  }
  throw new Refused(404, "");
}

export const insist = insisting(ask);
