// Vertical setting on a canvas, sign by sign. A canvas cannot be told to use a font's vertical forms,
// so they come as a font of their own (see tools/subset_font.py).
import { upright } from "./dom.js";

const FAMILY = '"Tsukurioki Tate", "Tsukurioki Mincho", serif';
// Never at the head of a column; each of these hangs below the foot of the one before instead.
const CLINGS = new Set("、。，．」』）】〕〉》！？・ー…ぁぃぅぇぉっゃゅょァィゥェォッャュョ々");

/** The signs of a text, runs of one to three digits kept together. */
const signs = (text) => upright(text).match(/\d{1,3}|[\s\S]/gu) ?? [];

/** Break a text into columns of so many signs. @param {string} text @param {number} length */
export function columns(text, length) {
  const lines = [[]];
  for (const sign of signs(text)) {
    const line = lines[lines.length - 1];
    if (line.length >= length && !(CLINGS.has(sign) && line.length < length + 1)) lines.push([sign]);
    else line.push(sign);
  }
  return lines;
}

/** Set one column downwards from its middle top. */
export function column(ctx, line, x, y, size, spacing = 1.06) {
  ctx.font = `${size}px ${FAMILY}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  line.forEach((sign, i) => {
    const at = y + (i + 0.5) * size * spacing;
    if (sign.length === 1) {
      ctx.fillText(sign, x, at);
      return;
    }
    ctx.save();
    ctx.translate(x, at);
    ctx.scale(Math.min(1, size / ctx.measureText(sign).width), 1);
    ctx.fillText(sign, 0, 0);
    ctx.restore();
  });
}

/** The largest size at which paragraphs fit, with the columns that it gives. */
export function setting(parts, w, h, { least, most, leading = 1.95, spacing = 1.06 }) {
  for (let size = most; ; size -= 0.5) {
    const length = Math.floor(h / (size * spacing)) - 1;
    const lines = parts.flatMap((part) => columns(`　${part}`, length));
    const fits = lines.length * size * leading <= w;
    if (fits || size <= least) return { size, lines, step: size * leading };
  }
}
