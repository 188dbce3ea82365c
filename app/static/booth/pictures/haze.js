// 源氏雲: a gold screen, its clouds drawn over whatever had better not be seen.
import { clear, mix, moon, residence, roughness, land, wash } from "./brush.js";

export const hours = ["leaf", "indigo", "pine", "dusk", "night"];

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, hour.sky);
  const disc = random.fork("disc");
  moon(ctx, w * disc.between(0.2, 0.5), h * disc.between(0.15, 0.25), u * disc.between(7, 11), hour.light, 3.5, 0.22);
  const line = roughness(random.fork("hill"), 1.4, 5);
  ctx.fillStyle = mix(hour.sky[2], hour.ink, 0.42);
  land(ctx, w, h, (x) => h * (0.66 - line(x) * 0.22));
  pines(ctx, w, h, u, random.fork("pines"), hour, line);
  residence(ctx, w * random.fork("home").between(0.36, 0.58), h * 1.05, h * 0.72, mix(hour.sky[2], hour.ink, 0.9), hour);
  const clouds = random.fork("clouds");
  const first = clouds.whole(0, 1);
  [0.2, 0.42, 0.6, 0.76, 0.95].forEach((at, i) => {
    const left = (i + first) % 2 === 0;
    cloud(ctx, w, h * (at + clouds.between(-0.03, 0.03)), u, left, clouds, hour, i);
  });
}

function pines(ctx, w, h, u, random, hour, line) {
  for (let i = 0; i < 26; i += 1) {
    const x = random.next();
    const y = h * (0.66 - line(x) * 0.22) + u * random.between(0, 10);
    const size = u * random.between(2, 4.6);
    ctx.fillStyle = mix(hour.sky[2], hour.ink, random.between(0.58, 0.85));
    for (let tier = 0; tier < 3; tier += 1) {
      ctx.beginPath();
      ctx.ellipse(x * w + (random.next() - 0.5) * size * 0.8, y - tier * size * 0.45, size * (1 - tier * 0.24), size * 0.3, 0, 0, Math.PI * 2);
      ctx.fill();
    }
    ctx.fillRect(x * w - size * 0.06, y - size * 0.6, size * 0.12, size * 1.4);
  }
}

/** Bars with round ends, a little out of step, joined into one shape. */
function cloud(ctx, w, y, u, left, random, hour, i) {
  const bars = random.whole(2, 4);
  const thick = u * random.between(3.6, 4.8);
  const shape = new Path2D();
  for (let bar = 0; bar < bars; bar += 1) {
    const reach = w * (left ? random.between(0.2, 0.58) : random.between(0.2, 0.5));
    const x = left ? -thick : w - reach;
    const top = y + (bar - bars / 2) * thick * 0.98;
    shape.roundRect(x, top, reach + thick, thick, thick / 2);
  }
  const [pale, rich] = [mix(hour.gold, "#fff6dc", 0.42), mix(hour.gold, "#5d3f0f", 0.16)];
  const gold = ctx.createLinearGradient(left ? 0 : w, y, left ? w * 0.66 : w * 0.34, y + thick);
  gold.addColorStop(0, rich);
  gold.addColorStop(0.55, mix(pale, rich, 0.35));
  gold.addColorStop(1, pale);
  ctx.save();
  ctx.shadowColor = clear(hour.ink, 0.35);
  ctx.shadowBlur = u * 1.6;
  ctx.shadowOffsetY = u * 0.5;
  ctx.fillStyle = gold;
  ctx.fill(shape);
  ctx.restore();
  ctx.save();
  ctx.clip(shape);
  leafSquares(ctx, w, y, u, thick * bars, random.fork(`leaf${i}`));
  ctx.restore();
}

/** Gold leaf comes in squares; where they lap, it is a little deeper. */
function leafSquares(ctx, w, y, u, height, random) {
  const step = u * 7.5;
  for (let x = 0; x < w; x += step) {
    for (let top = y - height; top < y + height; top += step) {
      ctx.fillStyle = random.next() < 0.5 ? `rgba(255,248,220,${random.next() * 0.12})` : `rgba(80,50,0,${random.next() * 0.1})`;
      ctx.fillRect(x, top, step, step);
      ctx.fillStyle = "rgba(90,60,10,0.1)";
      ctx.fillRect(x, top, step, u * 0.12);
      ctx.fillRect(x, top, u * 0.12, step);
    }
  }
}
