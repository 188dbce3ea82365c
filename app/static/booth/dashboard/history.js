// What was seen over time. `/stats` only knows sums; their growth is kept here, in the page, and
// outlives a reload but not the tab.

const KEPT = 2000;
const HOUR = 3_600_000;
const COLUMNS = 48;
const WIDTHS = [5, 10, 15, 30, 60, 120, 300, 600];

/**
 * @typedef {{at: number, counts: Record<string, number>, dealt: number|null}} Sample
 */

/** @param {string} name */
export function history(name) {
  const key = `tsukurioki-history-${name}`;
  /** @type {Sample[]} */
  let samples = JSON.parse(sessionStorage.getItem(key) ?? "[]");

  return {
    /** @param {{now: number, started: number, counts: Record<string, number>, deals: {dealt: number}|null}} figures */
    add({ now, started, counts, deals }) {
      // A server that began after the last sample counts from nothing again.
      if (samples.length && started > samples[samples.length - 1].at) samples.push({ at: started, counts: {}, dealt: deals?.dealt ?? null, fresh: true });
      if (!samples.length && now - started < HOUR) samples.push({ at: started, counts: {}, dealt: null, fresh: true });
      if (samples.length && samples[samples.length - 1].at >= now) samples.pop();
      samples.push({ at: now, counts, dealt: deals?.dealt ?? null });
      if (samples.length > KEPT) samples = samples.filter((_, i) => i % 2 || i > KEPT / 2);
      sessionStorage.setItem(key, JSON.stringify(samples));
    },

    /** How much a figure grew in the last hour, and whether that was reckoned from less. */
    lastHour(value) {
      const end = samples[samples.length - 1];
      if (!end) return null;
      const seen = samples.filter((sample) => sample.at > end.at - HOUR && value(sample) !== null);
      if (seen.length < 2) return null;
      const grown = growths(seen, value).reduce((sum, { growth }) => sum + growth, 0);
      const span = end.at - seen[0].at;
      // A rate reckoned from a minute would frighten the host; so little is told as it is.
      const whole = span > HOUR * 0.95 || span < HOUR / 6 || seen[0].fresh;
      return { value: whole ? grown : (grown * HOUR) / Math.max(span, 1), about: !whole };
    },

    /** Growth by tier in equal columns of time up to now. */
    columns(tiers) {
      const end = samples[samples.length - 1]?.at ?? 0;
      const busy = samples.find((sample) => Object.values(sample.counts).some(Boolean))?.at ?? end;
      const width = 1000 * (WIDTHS.find((one) => one * COLUMNS * 1000 >= end - busy) ?? 600);
      const last = Math.floor(end / width);
      const columns = Array.from({ length: COLUMNS }, (_, i) => ({ at: (last - COLUMNS + 1 + i) * width, counts: {} }));
      for (const tier of tiers) {
        for (const { at, growth } of growths(samples, (sample) => sample.counts[tier] ?? 0)) {
          const column = columns[Math.floor(at / width) - last + COLUMNS - 1];
          if (column) column.counts[tier] = (column.counts[tier] ?? 0) + growth;
        }
      }
      return { width, columns };
    },
  };
}

/** @param {Sample[]} samples */
function growths(samples, value) {
  return samples.slice(1).map((sample, i) => {
    const [before, after] = [value(samples[i]), value(sample)];
    return { at: sample.at, growth: Math.max(0, after - (before ?? after)) };
  });
}
