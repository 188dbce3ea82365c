// The picture of a play: a composition and an hour that follow from its name, and nothing else.
import { chance } from "./seed.js";
import { HOURS, clear, grain } from "./pictures/brush.js";
import * as facade from "./pictures/facade.js";
import * as garden from "./pictures/garden.js";
import * as haze from "./pictures/haze.js";
import * as ridges from "./pictures/ridges.js";
import * as skyline from "./pictures/skyline.js";
import * as waves from "./pictures/waves.js";
import * as window_ from "./pictures/window.js";

const COMPOSITIONS = [ridges, skyline, waves, window_, haze, garden, facade];

/** What was decided for a play. @param {string} name */
function plan(name) {
  const random = chance(name);
  const composition = random.pick(COMPOSITIONS);
  return { composition, hour: HOURS[random.pick(composition.hours)], random };
}

/** What kind of text stands on the picture. @param {string} name @returns {"dark"|"light"} */
export const toneOf = (name) => plan(name).hour.tone;

/**
 * Draw it over the whole of a canvas.
 * @param {CanvasRenderingContext2D} ctx @param {string} name
 * @param {{veil?: number}} options  veil: how much of the right side is calmed for a title, 0…1
 */
export function paint(ctx, w, h, name, { veil = 0 } = {}) {
  const { composition, hour, random } = plan(name);
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
  const colour = hour.tone === "dark" ? hour.ink : hour.sky[3];
  const fade = ctx.createLinearGradient(w * (1 - part), 0, w, 0);
  // Eased, so that no edge shows across a moon.
  [0, 0.05, 0.2, 0.44, 0.66, 0.78].forEach((strength, i) => fade.addColorStop(i / 5, clear(colour, strength)));
  ctx.fillStyle = fade;
  ctx.fillRect(w * (1 - part), 0, w * part, h);
}

/**
 * A canvas element that keeps its picture sharp at every size.
 * @param {string} name @param {{veil?: number, className?: string}} options
 */
export function pictureElement(name, { veil = 0, className = "picture" } = {}) {
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
    paint(canvas.getContext("2d"), w, h, name, { veil });
    canvas.dataset.drawn = "yes";
  };
  new ResizeObserver(() => {
    asked ||= requestAnimationFrame(draw);
  }).observe(canvas);
  return canvas;
}
