// Reading `/stats`: what the dashboard shows, and null for what this server does not tell.

export const TIERS = ["exact", "same_hand", "composed", "template", "local", "cloud"];
const WHOLE = ["exact", "same_hand"];

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** Tiers in the order of the ladder, those of a later version at the end. */
function ordered(names) {
  const place = (name) => (TIERS.indexOf(name) + 1 || TIERS.length + 1);
  return [...names].sort((a, b) => place(a) - place(b));
}

/** Shares by tier, whether they stand alone, in `by_tier` or in `tiers`, as numbers or as objects. */
function shares(expected) {
  const found = expected?.by_tier ?? expected?.tiers ?? expected?.shares ?? expected;
  if (!found || typeof found !== "object") return null;
  const pairs = Object.entries(found).map(([tier, value]) => [tier, number(value) ?? number(value?.share)]);
  const known = pairs.filter(([tier, value]) => value !== null && TIERS.includes(tier));
  return known.length ? Object.fromEntries(known) : null;
}

/** @param {any} stats @param {string} deck */
export function read(stats, deck) {
  const of = stats.decks[deck];
  const byTier = of.answers?.by_tier ?? {};
  const tiers = ordered(Object.keys(byTier));
  const total = of.answers?.total ?? 0;
  const whole = WHOLE.reduce((sum, tier) => sum + (byTier[tier]?.answers ?? 0), 0);
  return {
    started: Date.parse(stats.started), now: Date.parse(stats.now), tiers, total, whole,
    counts: Object.fromEntries(tiers.map((tier) => [tier, byTier[tier].answers])),
    latency: slowest(byTier, tiers, total),
    seen: Object.fromEntries(tiers.map((tier) => [tier, byTier[tier].share])),
    expected: shares(of.expected),
    rehearsed: of.expected?.plays ? { plays: of.expected.plays, deal: of.expected.deal ?? "" } : null,
    deals: deals(of, stats),
    misses: of.misses?.kept ? of.misses : null,
    votes: of.feedback ? { up: of.feedback.up ?? 0, down: of.feedback.down ?? 0 } : null,
    money: money(of),
    refusals: refusals(stats),
    models: models(stats),
    store: of.store ?? {},
    stocked: of.coverage?.stocked_hands?.count ?? 0,
  };
}

/** The median over the tiers by weight, and the worst 99th: a queue feels the slowest tier. */
function slowest(byTier, tiers, total) {
  if (!total) return null;
  const half = tiers.reduce((sum, tier) => sum + byTier[tier].p50_us * byTier[tier].answers, 0) / total;
  return { p50: half, p99: Math.max(...tiers.map((tier) => byTier[tier].p99_us)) };
}

function deals(of, stats) {
  const found = of.deals ?? stats.deals;
  const dealt = number(found?.dealt);
  // Where nothing is stocked the hands are dealt at random, and nobody counts them.
  return dealt === null || found.stocked === 0 ? null : { dealt, stocked: number(found.stocked) ?? of.coverage?.stocked_hands?.count ?? 0 };
}

function money(of) {
  const spent = number(of.money?.spent_usd) ?? number(of.store?.spent_usd);
  return spent === null ? null : { spent, saved: number(of.money?.saved_usd) };
}

/** What Ollama has in memory; null where no tier asks it, and where it does not answer. */
function models(stats) {
  const found = stats.local_models;
  if (!Array.isArray(found?.models) || found.fault) return null;
  return { bytes: number(found.bytes) ?? 0, names: found.models.map((one) => String(one.name)) };
}

/** What the local model wrote and the gate refused, over all decks. */
function refusals(stats) {
  const local = Object.values(stats.decks).map((deck) => deck.local ?? deck.chat?.local ?? deck.chat).filter(Boolean);
  const refused = local.map((one) => total(one.refusals ?? one.refused)).filter((count) => count !== null);
  if (!refused.length) return null;
  const asked = local.map((one) => number(one.asked ?? one.tries)).filter((count) => count !== null);
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  return { refused: sum(refused), asked: asked.length ? sum(asked) : null };
}

function total(value) {
  if (number(value) !== null) return value;
  if (!value || typeof value !== "object") return null;
  return Object.values(value).reduce((sum, one) => sum + (number(one) ?? 0), 0);
}

const SOON_DEALT = 0.8;
const MANY = 10;

/** What to cook next: which advice, and the command. @param {ReturnType<typeof read>} figures */
export function advice({ stocked, deals: dealt, misses, store }, deck) {
  const named = deck === "poem" ? "" : ` --deck ${deck}`;
  const entries = store.entries ?? 0;
  if (!stocked) return { kind: "empty", command: `precompute build${named} --strategy stock --n ${Math.max(1000, entries)}` };
  if (dealt && dealt.dealt >= stocked * SOON_DEALT) {
    return { kind: "thin", command: `precompute build${named} --strategy stock --n ${Math.ceil((entries * 2) / 100) * 100}` };
  }
  if (misses && misses.distinct >= MANY) {
    return { kind: "misses", count: misses.distinct, command: `precompute build${named} --strategy misses --n ${misses.distinct}` };
  }
  return { kind: "enough", command: "precompute check" };
}
