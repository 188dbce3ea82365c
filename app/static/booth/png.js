// The flyer as an image: drawn, not photographed off the page, so that it is the same everywhere.
import { column, columns, setting } from "./tategaki.js";
import { paint, toneOf } from "./picture.js";
import { paragraphs } from "./dom.js";
import { isLong } from "./flyer.js";
import { PAGE, colour, quoted } from "./page.js";

// A Japanese postcard, 100 × 148 mm, at 305 dots an inch.
const [WIDTH, HEIGHT] = [1200, 1776];
const [PAPER, INK, SOFT, ACCENT, GOLD] = ["--paper", "--ink", "--soft", "--gold", "--gold-ink"].map(colour);
const TYPE = colour("--mincho");

/** @typedef {import("./flyer.js").Text} Text */

async function fontsFor(text) {
  const sample = text.slice(0, 400);
  await Promise.all(['"Tsukurioki Mincho"', '"Tsukurioki Tate"'].map((family) => document.fonts.load(`40px ${family}`, sample)));
}

function blank() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = PAPER;
  ctx.fillRect(0, 0, WIDTH, HEIGHT);
  return { canvas, ctx };
}

function label(ctx, text, x, y, size, { align = "left", colour = INK, spacing = 0 } = {}) {
  ctx.font = `${size}px ${TYPE}`;
  ctx.letterSpacing = `${spacing}px`;
  ctx.textAlign = align;
  ctx.textBaseline = "alphabetic";
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
  ctx.letterSpacing = "0px";
}

function rule(ctx, y) {
  ctx.fillStyle = ACCENT;
  ctx.fillRect(80, y, WIDTH - 160, 2);
}

/** Title and text in columns, on the picture and under it. */
function setColumns(ctx, text, split) {
  const size = Math.min(76, (split - 200) / (text.title.length * 1.1));
  columns(text.title, 14).forEach((line, i) => column(ctx, line, WIDTH - 130 - i * size * 1.4, 96, size, 1.1));
  label(ctx, text.name, 80, split - 56, 30, { colour: ctx.fillStyle, spacing: 8 });
  const { size: type, lines, step } = setting(paragraphs(text.poem), WIDTH - 160, 630, { least: 18, most: 40 });
  const left = (WIDTH - 160 - lines.length * step) / 2;
  ctx.fillStyle = INK;
  lines.forEach((line, i) => column(ctx, line, WIDTH - 80 - left - (i + 0.5) * step, split + 60, type));
}

/** The same in lines. */
function setLines(ctx, text, split) {
  const tone = ctx.fillStyle;
  ctx.font = `76px ${TYPE}`;
  balanced(ctx, text.title, WIDTH * 0.6).forEach((line, i) => label(ctx, line, WIDTH - 80, 160 + i * 96, 76, { align: "right", colour: tone }));
  label(ctx, text.name, 80, split - 56, 30, { colour: tone, spacing: 2 });
  for (let type = 42; ; type -= 1) {
    ctx.font = `${type}px ${TYPE}`;
    const parts = paragraphs(text.poem).map((part) => wrap(ctx, part, WIDTH - 160));
    const height = (parts.flat().length * 1.5 + (parts.length - 1) * 0.6) * type;
    const room = 1640 - split;
    if (height > room - 10 && type > 18) continue;
    let y = split + 50 + (room - height) / 2 + type;
    for (const lines of parts) {
      for (const line of lines) {
        label(ctx, line, 80, y, type);
        y += type * 1.5;
      }
      y += type * 0.6;
    }
    return;
  }
}

/** @param {Text} text */
function drawFront(ctx, text, words) {
  const split = isLong(text.poem) ? 640 : 1000;
  const view = document.createElement("canvas");
  [view.width, view.height] = [WIDTH, split];
  paint(view.getContext("2d"), WIDTH, split, text.play, { veil: 0.42 });
  ctx.drawImage(view, 0, 0);
  ctx.fillStyle = toneOf(text.play) === "dark" ? "#fbf5e6" : INK;
  (PAGE.vertical ? setColumns : setLines)(ctx, text, split);
  rule(ctx, 1690);
  label(ctx, words.frontPrint, 80, 1732, 20, { colour: SOFT });
}

/** Break a text into lines: between words, or anywhere in a language without spaces. */
function wrap(ctx, text, width) {
  const lines = [""];
  for (const part of PAGE.spaced ? text.match(/\S+\s*|\s+/gu) ?? [] : text) {
    if (lines[lines.length - 1] && ctx.measureText((lines[lines.length - 1] + part).trimEnd()).width > width) lines.push("");
    lines[lines.length - 1] += part;
  }
  return lines.map((line) => line.trimEnd());
}

/** The same number of lines, as even as they can be. */
function balanced(ctx, text, width) {
  const lines = wrap(ctx, text, width);
  for (let narrow = width * 0.96; narrow > width / 3; narrow *= 0.96) {
    const tried = wrap(ctx, text, narrow);
    if (tried.length > lines.length || tried.some((line) => ctx.measureText(line).width > narrow)) break;
    lines.splice(0, lines.length, ...tried);
  }
  return lines;
}

function drawBack(ctx, matters, words, name) {
  label(ctx, words.matters, WIDTH / 2, 190, 72, { align: "center", spacing: PAGE.vertical ? 16 : 2 });
  label(ctx, words.mattersLead, WIDTH / 2, 266, 28, { align: "center", colour: SOFT });
  // The cards fill the side; of more than five, each is set smaller.
  const height = Math.min(400, 1310 / matters.length);
  const part = Math.min(1, height / 256);
  matters.forEach(({ said, fact, category }, i) => {
    const y = 350 + i * height;
    rule(ctx, y);
    label(ctx, category, 80, y + 62 * part, 24 * part, { colour: GOLD, spacing: 4 });
    label(ctx, quoted(said), PAGE.vertical ? 68 : 80, y + 114 * part, 32 * part, { colour: SOFT });
    ctx.font = `${46 * part}px ${TYPE}`;
    wrap(ctx, fact, WIDTH - 160).forEach((line, row) => label(ctx, line, 80, y + (182 + row * 56) * part, 46 * part));
  });
  rule(ctx, 1690);
  label(ctx, words.backPrint, 80, 1732, 20, { colour: SOFT });
  label(ctx, name, WIDTH - 80, 1732, 22, { align: "right", spacing: 4 });
}

/**
 * One side of the flyer as a PNG.
 * @param {"front"|"back"} side @param {Text} text
 * @param {{said: string, fact: string, category: string}[]} matters
 * @returns {Promise<Blob>}
 */
export async function image(side, text, matters, words) {
  await fontsFor(text.title + text.poem + matters.map((m) => m.said + m.fact).join(""));
  const { canvas, ctx } = blank();
  if (side === "front") drawFront(ctx, text, words);
  else drawBack(ctx, matters, words, text.name);
  return new Promise((give) => { canvas.toBlob(give, "image/png"); });
}

/** Hand a file to the visitor. @param {Blob} blob @param {string} name */
export function handOver(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
