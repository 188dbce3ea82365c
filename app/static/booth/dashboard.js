// The dashboard: what a host reads from across the room. `/stats` is all it knows.
import { rememberedToken } from "./api.js";
import { compared, part, stacked } from "./dashboard/charts.js";
import { TIERS, advice, read } from "./dashboard/figures.js";
import { history } from "./dashboard/history.js";
import { make } from "./dom.js";
import { admit, deckLinks, languageSwitch, poll } from "./host.js";
import { PAGE } from "./page.js";

const POLL = 2000;
const STATS = "/stats";
const { deck, name, guarded } = document.body.dataset;
const stage = document.querySelector("#stage");
const notice = document.querySelector("#notice");
const past = history(deck);
const view = { figures: null, panels: {} };
const host = languageSwitch(() => { lay(); show(); });

function time(microseconds, n) {
  if (microseconds < 1000) return [n.fixed(microseconds), "µs"];
  if (microseconds < 1e6) return [n.fixed(microseconds / 1000, microseconds < 1e4 ? 1 : 0), "ms"];
  return [n.fixed(microseconds / 1e6, 1), "s"];
}

function size(bytes, n, units) {
  const mega = bytes / 2 ** 20;
  return mega < 1024 ? [n.fixed(mega), units.MiB] : [n.fixed(mega / 1024, 1), units.GiB];
}

function ago(since, now, words) {
  const minutes = Math.max(0, Math.round((now - since) / 60_000));
  if (minutes < 120) return words.minutes(minutes);
  return minutes < 48 * 60 ? words.hours(Math.round(minutes / 60)) : words.days(Math.round(minutes / 1440));
}

const big = (value, unit = "") => make("p.big", {}, make("span.value", {}, value), unit ? make("span.unit", {}, unit) : null);
const note = (text) => make("p.note", {}, text);

function perHour(found, words, n) {
  if (!found) return null;
  return [make("p.big", {}, found.about ? make("span.unit", {}, words.about) : null, make("span.value", {}, n.rounded(Math.round(found.value))))];
}

/** Each panel: its heading, and what stands in it; null where the server does not tell. */
const PANELS = {
  visitors: (f, w, n) => f.deals && [w.visitors, ...(perHour(past.lastHour((s) => s.dealt), w, n) ?? [big("0")]), note(w.handsDealt(n.rounded(f.deals.dealt)))],
  answers: (f, w, n) => [w.answers, ...(perHour(past.lastHour((s) => Object.values(s.counts).reduce((a, b) => a + b, 0)), w, n) ?? [big(n.rounded(f.total))])],
  hits: (f, w, n) => [w.hits, big(f.total ? n.percent(f.whole / f.total) : "–"), note(w.ofAnswers(n.rounded(f.total)))],
  latency: (f, w, n) => [w.latency, big(...(f.latency ? time(f.latency.p50, n) : ["–"])), note(f.latency ? `${w.latencyNote} · ${time(f.latency.p99, n).join(" ")}` : w.noAnswers)],
  time: (f, w, n) => {
    const columns = past.columns(f.tiers);
    return [`${w.overTime} · ${w.every(w.seconds(columns.width / 1000))}`, stacked(columns, f.tiers, w, n), legend(f, w, n)];
  },
  expected: (f, w, n) => [w.expected, f.tiers.length || f.expected ? compared(both(f), f.expected, f.seen, w, n) : note(w.noAnswers), note(f.expected ? (f.rehearsed ? w.rehearsed(n.rounded(f.rehearsed.plays), w.deals[f.rehearsed.deal] ?? f.rehearsed.deal) : "") : w.onlySeen)],
  dealt: (f, w, n) => {
    if (!f.deals) return null;
    const { dealt, stocked } = f.deals;
    const round = Math.max(1, Math.ceil(dealt / stocked));
    return [w.dealtHands, big(n.rounded(dealt)), part(dealt / stocked), note(`${w.ofStocked(n.rounded(stocked))}${round > 1 ? ` · ${w.round(round)}` : ""}`)];
  },
  votes: (f, w, n) => {
    if (!f.votes) return null;
    const { up, down } = f.votes;
    if (!up && !down) return [w.votes, big("–"), note(w.noVotes)];
    return [w.votes, big(n.percent(up / (up + down))), part(up / (up + down)), note(`${w.votesUp} ${n.rounded(up)} · ${w.votesDown} ${n.rounded(down)}`)];
  },
  money: (f, w, n) => f.money && [w.money, big(n.dollars(f.money.spent)), note(f.money.saved === null ? w.spent : `${w.spent} · ${w.savedMoney} ${n.dollars(f.money.saved)}`)],
  store: (f, w, n) => [w.store, big(w.entries(n.rounded(f.store.entries ?? 0))), note([f.store.generation ? w.generation(f.store.generation) : "", f.store.newest ? w.age(ago(Date.parse(f.store.newest), f.now, w)) : ""].filter(Boolean).join(" · "))],
  refusals: (f, w, n) => f.refusals && [w.refusals, big(n.rounded(f.refusals.refused)), f.refusals.asked === null ? null : note(w.ofAsked(n.rounded(f.refusals.asked)))],
  models: (f, w, n) => f.models && [w.models, big(...size(f.models.bytes, n, w.units)), f.models.names.length ? make("ul.loaded", {}, ...f.models.names.map((name) => make("li", {}, name))) : note(w.noModels)],
  misses: (f, w, n) => f.misses && [`${w.wanted} · ${w.wantedNote(n.rounded(f.misses.distinct ?? 0))}`, wanted(f.misses.most_wanted ?? [], w, n)],
  next: (f, w, n) => {
    const { kind, count, command } = advice(f, deck);
    const text = kind === "misses" ? w.advice.misses(n.rounded(count)) : w.advice[kind];
    return [w.nextToCook, make("p.advice", {}, text), copyable(command, w)];
  },
};

/** What stands side by side; a panel that this server cannot fill leaves its room to the others. */
const ROWS = [["visitors", "answers", "hits", "latency"], ["time", "expected"], ["dealt", "votes", "money", "store", "refusals", "models"], ["misses", "next"]];

const both = (f) => TIERS.filter((tier) => f.tiers.includes(tier) || f.expected?.[tier]);
const legend = (f, words, n) => make("ul.legend", {}, ...f.tiers.map((tier) => make("li", {}, make(`i.dot.tier-${tier}`), `${words.tierNames[tier] ?? tier} ${n.rounded(f.counts[tier])}`)));

/** Plays by the ids of their phrases, which is what the ledger knows; their common head is left out. */
function wanted(plays, words, n) {
  if (!plays.length) return note(words.none);
  const short = (phrase) => String(phrase).replace(/^poem-/, "");
  return make("ol.wanted", {}, ...plays.slice(0, 4).map(({ phrases, times }) => make("li", {},
    make("span.times", {}, `×${n.rounded(times)}`), make("span.phrases", {}, phrases.map(short).join("  ")))));
}

function copyable(command, words) {
  const button = make("button.copy", { type: "button" }, words.copy);
  const code = make("code", {}, command);
  button.addEventListener("click", async () => {
    await copy(command, code);
    button.textContent = words.copied;
    document.querySelector("#said").textContent = words.copied;
  });
  return make("div.command", {}, code, button);
}

/** By the clipboard where the address is trusted with it; otherwise the text is selected for the hand. */
async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(element);
  }
}

function lay() {
  const { words } = host;
  view.panels = Object.fromEntries(Object.keys(PANELS).map((id) => [id, make(`section.panel.${id}`, { "aria-labelledby": `panel-${id}`, hidden: true })]));
  stage.replaceChildren(make("header.head", {}, make("h1", {}, words.dashboard), make("p", { lang: PAGE.language }, name), deckLinks(deck, words.chooseDeck), make("p.clock", {})),
    make("p.trouble", { role: "alert", hidden: true }), make("div.panels", {}, ...ROWS.map((row) => make("div.row", {}, ...row.map((id) => view.panels[id])))));
}

function show() {
  const { figures } = view;
  if (!figures || !stage.querySelector(".panels")) return;
  const { words, numbers } = host;
  for (const [id, draw] of Object.entries(PANELS)) fill(view.panels[id], id, draw(figures, words, numbers));
  stage.querySelector(".clock").textContent = new Date(figures.now).toLocaleTimeString(host.language);
  const trouble = stage.querySelector(".trouble");
  trouble.hidden = !figures.store.problem;
  trouble.textContent = figures.store.problem ? `${words.problem} · ${figures.store.problem}` : "";
}

/** A panel is only made anew where something has changed: a focused button stays where it is. */
function fill(panel, id, content) {
  panel.hidden = !content;
  if (!content) return;
  const fresh = make("div", {}, make("h2", { id: `panel-${id}` }, content[0]), ...content.slice(1));
  if (panel.dataset.shown === fresh.innerHTML) return;
  panel.dataset.shown = fresh.innerHTML;
  panel.replaceChildren(...fresh.childNodes);
}

function got(stats) {
  view.figures = read(stats, deck);
  past.add(view.figures);
  if (!stage.querySelector(".panels")) lay();
  show();
}

document.body.dataset.ready = "yes";
if (guarded === "yes" && !rememberedToken()) got(await admit(stage, host.words, STATS));
poll(STATS, POLL, {
  got,
  away(away) {
    notice.hidden = !away;
    notice.textContent = away ? host.words.hostAway : "";
  },
  refused: async () => got(await admit(stage, host.words, STATS, true)),
});
