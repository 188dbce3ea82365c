// Charts in plain SVG, each with its figures beside it in words.
import { draw, make } from "../dom.js";

/** Columns of answers by tier over time. */
export function stacked({ columns }, tiers, words, numbers) {
  const [w, h] = [960, 250];
  const top = Math.max(4, ...columns.map(({ counts }) => sum(Object.values(counts))));
  const step = w / columns.length;
  const bars = columns.flatMap(({ counts }, i) => {
    let y = h;
    return tiers.filter((tier) => counts[tier]).map((tier) => {
      const height = (counts[tier] / top) * (h - 8);
      y -= height;
      return draw("rect", { class: `tier-${tier}`, x: (i * step + 1).toFixed(1), y: y.toFixed(1), width: (step - 2).toFixed(1), height: Math.max(0.5, height - 1).toFixed(1) });
    });
  });
  const lines = [0.5, 1].map((part) => draw("line", { class: "grid", x1: 0, x2: w, y1: h - part * (h - 8), y2: h - part * (h - 8) }));
  const figure = draw("svg", { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", role: "img", "aria-label": words.overTime }, ...lines, draw("line", { class: "axis", x1: 0, x2: w, y1: h, y2: h }), ...bars);
  return make("div.stacked", {}, make("span.top", {}, numbers.rounded(top)), figure);
}

/** For each tier what the rehearsal promised above what was seen. */
export function compared(tiers, expected, seen, words, numbers) {
  const label = (word, share) => `${word} ${numbers.percent(share)}`;
  const rows = tiers.map((tier) => make("li", {},
    make("span.tier-name", {}, make(`i.dot.tier-${tier}`), words.tierNames[tier] ?? tier),
    make("span.bars", {},
      expected ? bar("expected", expected[tier] ?? 0, label(words.expectedIs, expected[tier] ?? 0)) : null,
      bar(`seen tier-${tier}`, seen[tier] ?? 0, label(words.seenIs, seen[tier] ?? 0)))));
  return make("ul.compared", {}, ...rows);
}

function bar(kind, share, label) {
  const figure = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "track", width: 100, height: 10 }), draw("rect", { class: kind, width: Math.max(share ? 0.6 : 0, share * 100), height: 10 }));
  return make("span.bar-row", {}, figure, make("span.bar-label", {}, label));
}

/** A part of a whole as one line. */
export function part(share, className = "part") {
  return draw("svg", { class: "part-line", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "track", width: 100, height: 6 }), draw("rect", { class: className, width: Math.min(1, share) * 100, height: 6 }));
}

const sum = (list) => list.reduce((a, b) => a + b, 0);
