// 街: a town of dark houses, and one tower that is taller than it has any reason to be.
import { clear, mix, moon, residence, wash } from "./brush.js";

export const hours = ["dawn", "dusk", "night", "indigo", "mist", "snow"];

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, hour.sky);
  const disc = random.fork("disc");
  const tower = w * random.fork("tower").between(0.26, 0.56);
  const mx = tower + u * disc.between(-14, 14);
  moon(ctx, mx, h * disc.between(0.24, 0.36), u * disc.between(8, 15), hour.light, 4, 0.26);
  if (hour.tone === "dark") stars(ctx, w, h, u, random.fork("stars"), hour);
  const river = h * 0.86;
  row(ctx, w, u, river, h * 0.2, 0.3, random.fork("far"), hour);
  row(ctx, w, u, river, h * 0.17, 0.52, random.fork("middle"), hour);
  residence(ctx, tower, river, h * 0.6, mix(hour.sky[3], hour.ink, 0.86), hour);
  row(ctx, w, u, river, h * 0.12, 0.8, random.fork("near"), hour);
  reflection(ctx, w, h, u, river, tower, random.fork("river"), hour);
}

function stars(ctx, w, h, u, random, hour) {
  for (let i = 0; i < 70; i += 1) {
    const size = Math.max(0.8, u * 0.16 * random.next());
    ctx.fillStyle = clear(hour.light, random.between(0.1, 0.6));
    ctx.fillRect(random.next() * w, random.next() * h * 0.5, size, size);
  }
}

function row(ctx, w, u, foot, height, near, random, hour) {
  const colour = mix(hour.sky[3], hour.ink, near);
  let x = -u * random.between(0, 6);
  while (x < w) {
    const width = u * random.between(3.2, 9.5);
    const top = foot - height * random.between(0.28, 1);
    ctx.fillStyle = colour;
    ctx.fillRect(x, top, width - u * 0.3, foot - top);
    roof(ctx, x, top, width - u * 0.3, u, random);
    if (near > 0.45) windows(ctx, x, top, width - u * 0.3, foot, u, random, hour, near);
    x += width;
  }
  wash(ctx, 0, foot - height * 0.5, w, height * 0.5, [clear(hour.sky[3], 0), clear(hour.sky[3], 0.3 * (1 - near))]);
}

function roof(ctx, x, top, width, u, random) {
  const kind = random.whole(0, 4);
  if (kind === 0) ctx.fillRect(x + width * 0.2, top - u * 1.2, width * 0.3, u * 1.3);
  if (kind === 1) ctx.fillRect(x + width * 0.7, top - u * 3.4, u * 0.22, u * 3.5);
  if (kind === 2) {
    ctx.beginPath();
    ctx.moveTo(x - u * 0.4, top);
    ctx.lineTo(x + width / 2, top - u * 1.9);
    ctx.lineTo(x + width + u * 0.4, top);
    ctx.fill();
  }
}

function windows(ctx, x, top, width, foot, u, random, hour, near) {
  const step = u * 1.25;
  const lit = hour.tone === "dark" ? 0.07 : 0.03;
  for (let y = top + step * 0.8; y < foot - step * 0.6; y += step) {
    for (let at = x + step * 0.5; at < x + width - step * 0.6; at += step * 0.85) {
      if (random.next() > lit) continue;
      ctx.fillStyle = clear(hour.gold, random.between(0.15, 0.5) * near);
      ctx.fillRect(at, y, u * 0.36, u * 0.5);
    }
  }
}

function reflection(ctx, w, h, u, river, tower, random, hour) {
  const deep = mix(hour.sky[1], hour.ink, hour.tone === "dark" ? 0.6 : 0.2);
  wash(ctx, 0, river, w, h - river, [mix(hour.sky[3], hour.ink, 0.66), deep]);
  for (let i = 0; i < 130; i += 1) {
    const down = random.next();
    const golden = random.next() < 0.4;
    const length = u * random.between(0.6, golden ? 3 : 7);
    const x = golden ? tower + (random.next() - 0.5) * u * (3 + down * 7) : random.next() * w;
    ctx.fillStyle = clear(golden ? hour.gold : hour.sky[3], random.between(0.05, golden ? 0.4 : 0.18));
    ctx.fillRect(x - length / 2, river + down * (h - river), length, Math.max(1, u * 0.16));
  }
}
