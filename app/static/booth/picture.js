// The picture of a play: a composition and an hour that follow from its name, and nothing else.
import { chance } from "./seed.js";
import { PAGE, palette } from "./page.js";
import { HOURS, clear, grain, mix } from "./pictures/brush.js";
import * as facade from "./pictures/facade.js";
import * as garden from "./pictures/garden.js";
import * as haze from "./pictures/haze.js";
import * as plain from "./pictures/plain.js";
import * as ridges from "./pictures/ridges.js";
import * as shapes from "./pictures/shapes.js";
import * as skyline from "./pictures/skyline.js";
import * as waves from "./pictures/waves.js";
import * as window_ from "./pictures/window.js";

/** @typedef {import("./page.js").Theme} Theme */

const ESTATE = [ridges, skyline, waves, window_, haze, garden, facade];
const IN_COLOURS = { shapes, plain };

/** What was decided for a play. @param {string} name @param {Theme} theme */
function plan(name, theme) {
  const random = chance(name);
  if (theme.picture in IN_COLOURS) return { composition: IN_COLOURS[theme.picture], hour: random.pick(lights(theme)), random };
  const composition = random.pick(ESTATE);
  return { composition, hour: HOURS[random.pick(composition.hours)], random };
}

/** A dark and a light picture in the colours of a theme. @returns {import("./pictures/brush.js").Hour[]} */
function lights(theme) {
  const { "--night": night, "--deep": deep, "--paper": paper, "--ink": ink, "--gold": gold, "--gold-light": light, "--seal": seal } = palette(theme);
  return [
    { tone: "dark", sky: [night, mix(night, deep, 0.6), mix(night, gold, 0.22), mix(night, gold, 0.46)], ink: deep, light, gold },
    { tone: "light", sky: [mix(paper, gold, 0.1), paper, mix(paper, gold, 0.3), mix(paper, gold, 0.55)], ink, light: seal, gold, paper },
  ];
}

/** What kind of text stands on the picture. @param {string} name @param {Theme} [theme] @returns {"dark"|"light"} */
export const toneOf = (name, theme = PAGE) => plan(name, theme).hour.tone;

/**
 * Draw it over the whole of a canvas.
 * @param {CanvasRenderingContext2D} ctx @param {string} name
 * @param {{veil?: number, theme?: Theme}} options  veil: how much of the right side is calmed for a title, 0…1
 */
export function paint(ctx, w, h, name, { veil = 0, theme = PAGE } = {}) {
  const { composition, hour, random } = plan(name, theme);
  // Between the side and the mean of both: long formats neither starve nor drown in detail.
  const unit = Math.sqrt(Math.min(w, h) * Math.sqrt(w * h)) / 100;
  ctx.save();
  ctx.clearRect(0, 0, w, h);
  composition.draw(ctx, w, h, unit, random.fork("picture"), hour);
  ctx.restore();
  if (veil) calm(ctx, w, h, veil, hour);
  grain(ctx, w, h, random.fork("grain"), unit);
}

function calm(ctx, w, h, part, hour) {
  const colour = hour.tone === "dark" ? hour.ink : hour.paper ?? hour.sky[3];
  const fade = ctx.createLinearGradient(w * (1 - part), 0, w, 0);
  // Eased, so that no edge shows across a moon.
  [0, 0.05, 0.2, 0.44, 0.66, 0.78].forEach((strength, i) => fade.addColorStop(i / 5, clear(colour, strength)));
  ctx.fillStyle = fade;
  ctx.fillRect(w * (1 - part), 0, w * part, h);
}

/**
 * A canvas element that keeps its picture sharp at every size.
 * @param {string} name @param {{veil?: number, className?: string, theme?: Theme}} options
 */
export function pictureElement(name, { veil = 0, className = "picture", theme = PAGE } = {}) {
  const canvas = document.createElement("canvas");
  canvas.className = className;
  canvas.setAttribute("aria-hidden", "true");
  canvas.dataset.play = name;
  let asked = 0;
  const draw = () => {
    asked = 0;
    const { width, height } = canvas.getBoundingClientRect();
    const scale = Math.min(devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (!w || !h || (canvas.width === w && canvas.height === h && canvas.dataset.drawn)) return;
    [canvas.width, canvas.height] = [w, h];
    paint(canvas.getContext("2d"), w, h, name, { veil, theme });
    canvas.dataset.drawn = "yes";
  };
  new ResizeObserver(() => {
    asked ||= requestAnimationFrame(draw);
  }).observe(canvas);
  return canvas;
}
