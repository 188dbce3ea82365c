// What the pictures share: colours, skies, discs, ridges, grain, and the one lit window.

/** @typedef {import("../seed.js").Chance} Chance */
/**
 * @typedef {object} Hour  The light of a picture.
 * @property {"dark"|"light"} tone  what kind of text stands on it
 * @property {string[]} sky   from the top to the horizon
 * @property {string} ink     what is near
 * @property {string} light   moon, sun, foam
 * @property {string} gold
 * @property {string} [paper]  behind a title on a light picture; the sky's lowest colour if it is missing
 */

/** @type {Record<string, Hour>} */
export const HOURS = {
  dawn: { tone: "dark", sky: ["#1c2340", "#4b4a6e", "#a97f85", "#eac4a0"], ink: "#12152a", light: "#fff0d8", gold: "#e6bf7c" },
  dusk: { tone: "dark", sky: ["#161a33", "#472f49", "#9c5548", "#e0a261"], ink: "#110f1f", light: "#ffdfae", gold: "#edbd6e" },
  night: { tone: "dark", sky: ["#05080f", "#0b1424", "#18283f", "#33485c"], ink: "#03050a", light: "#f5ecd2", gold: "#d9b263" },
  indigo: { tone: "dark", sky: ["#071226", "#10294c", "#2c5a80", "#8fb3bd"], ink: "#050d1c", light: "#eef3e6", gold: "#d8b871" },
  pine: { tone: "dark", sky: ["#081514", "#12312e", "#3c6557", "#b3b891"], ink: "#050f0e", light: "#f6efcf", gold: "#d3b46a" },
  mist: { tone: "light", sky: ["#d3d5d0", "#e0ded4", "#efe9dc", "#f8f3e8"], ink: "#3d474a", light: "#c8553f", gold: "#a98742" },
  snow: { tone: "light", sky: ["#cfd7de", "#dfe3e6", "#eeeeea", "#f7f5ef"], ink: "#2e3a49", light: "#b9503f", gold: "#a58748" },
  leaf: { tone: "light", sky: ["#d9bf86", "#e5d09c", "#eedfb6", "#f4ead0"], ink: "#2b241a", light: "#a53a2c", gold: "#8d6a24" },
};

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A colour between two. @param {string} from @param {string} to @param {number} part */
export function mix(from, to, part) {
  const [a, b] = [channels(from), channels(to)];
  const mixed = a.map((value, i) => Math.round(value + (b[i] - value) * part));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** @param {string} hex @param {number} opacity */
export function clear(hex, opacity) {
  return `rgba(${channels(hex).join(",")},${opacity})`;
}

/** @param {CanvasRenderingContext2D} ctx @param {string[]} colours */
export function wash(ctx, x, y, w, h, colours) {
  const gradient = ctx.createLinearGradient(0, y, 0, y + h);
  colours.forEach((colour, i) => gradient.addColorStop(i / (colours.length - 1), colour));
  ctx.fillStyle = gradient;
  ctx.fillRect(x, y, w, h);
}

/** A disc with its halo. */
export function moon(ctx, x, y, radius, colour, halo = 5, strength = 0.3) {
  const glow = ctx.createRadialGradient(x, y, radius * 0.9, x, y, radius * halo);
  glow.addColorStop(0, clear(colour, strength));
  glow.addColorStop(0.35, clear(colour, strength * 0.3));
  glow.addColorStop(1, clear(colour, 0));
  ctx.fillStyle = glow;
  ctx.fillRect(x - radius * halo, y - radius * halo, radius * halo * 2, radius * halo * 2);
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, Math.PI * 2);
  ctx.fill();
}

/** A rough line over 0…1 with values over 0…1. @param {Chance} random */
export function roughness(random, frequency, octaves = 5) {
  const tables = Array.from({ length: octaves }, () => Array.from({ length: 64 }, random.next));
  const smooth = (t) => t * t * (3 - 2 * t);
  return (x) => {
    let [sum, weight, size] = [0, 1, 0];
    for (let i = 0; i < octaves; i += 1) {
      const at = x * frequency * 2 ** i;
      const cell = Math.floor(at);
      const [from, to] = [tables[i][cell & 63], tables[i][(cell + 1) & 63]];
      sum += (from + (to - from) * smooth(at - cell)) * weight;
      size += weight;
      weight *= 0.46;
    }
    return sum / size;
  };
}

/** Fill from a line to the foot of the canvas. @param {(x: number) => number} height  x over 0…1 */
export function land(ctx, w, foot, height) {
  const steps = Math.max(160, Math.round(w / 3));
  ctx.beginPath();
  ctx.moveTo(0, foot);
  for (let i = 0; i <= steps; i += 1) ctx.lineTo((i / steps) * w, height(i / steps));
  ctx.lineTo(w, foot);
  ctx.closePath();
  ctx.fill();
}

/** The flat that is for sale: a slender tower with the one window where somebody is at home. */
export function residence(ctx, x, foot, height, ink, hour) {
  const w = height * 0.115;
  ctx.fillStyle = ink;
  ctx.fillRect(x - w / 2, foot - height, w, height);
  ctx.fillRect(x - w * 0.32, foot - height * 1.05, w * 0.64, height * 0.06);
  ctx.fillRect(x - height * 0.005, foot - height * 1.19, height * 0.01, height * 0.16);
  const [wx, wy, ww, wh] = [x - w * 0.2, foot - height * 0.8, w * 0.4, height * 0.05];
  const [middle, reach] = [wy + wh / 2, height * 0.3];
  const glow = ctx.createRadialGradient(x, middle, 0, x, middle, reach);
  glow.addColorStop(0, clear(hour.gold, 0.6));
  glow.addColorStop(1, clear(hour.gold, 0));
  ctx.fillStyle = glow;
  ctx.fillRect(x - reach, middle - reach, reach * 2, reach * 2);
  ctx.fillStyle = mix(hour.gold, "#ffffff", 0.35);
  ctx.fillRect(wx, wy, ww, wh);
}

/** Paper grain, so that gradients do not band and nothing looks like plastic. */
export function grain(ctx, w, h, random, unit) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 160;
  const brush = tile.getContext("2d");
  const noise = brush.createImageData(160, 160);
  for (let i = 0; i < noise.data.length; i += 4) {
    noise.data[i] = noise.data[i + 1] = noise.data[i + 2] = random.next() < 0.5 ? 0 : 255;
    noise.data[i + 3] = random.next() * 15;
  }
  brush.putImageData(noise, 0, 0);
  ctx.save();
  const scale = Math.max(1, unit / 6);
  ctx.scale(scale, scale);
  ctx.fillStyle = ctx.createPattern(tile, "repeat");
  ctx.fillRect(0, 0, w / scale, h / scale);
  ctx.restore();
}
