// 石庭: raked gravel around a few stones, seen from above; somebody has forgotten a key.
import { clear, grain, mix, wash } from "./brush.js";

export const hours = ["mist", "snow", "leaf", "night", "pine", "indigo"];

export function draw(ctx, w, h, u, random, hour) {
  const pale = hour.tone === "light" ? hour.sky[2] : mix(hour.sky[2], hour.sky[1], 0.35);
  const deep = hour.tone === "light" ? mix(hour.sky[0], hour.ink, 0.1) : hour.sky[0];
  wash(ctx, 0, 0, w, h, [deep, pale, mix(pale, deep, 0.3)]);
  const stones = place(w, h, u, random.fork("stones"));
  rake(ctx, w, h, u, stones, hour, pale);
  for (const stone of stones) island(ctx, stone, u, random.fork(`stone${stone.x}`), hour, pale, deep);
  beam(ctx, w, h, random.fork("beam"), hour);
}

function place(w, h, u, random) {
  const groups = random.pick([
    [[0.34, 0.36, 1.25], [0.6, 0.72, 0.8]],
    [[0.3, 0.64, 1.3], [0.62, 0.28, 0.7], [0.66, 0.76, 0.5]],
    [[0.46, 0.5, 1.5], [0.18, 0.8, 0.6]],
    [[0.24, 0.26, 0.8], [0.5, 0.66, 1.2], [0.74, 0.86, 0.6]],
  ]);
  return groups.map(([x, y, size]) => ({
    x: w * (x + random.between(-0.04, 0.04)),
    y: h * (y + random.between(-0.03, 0.03)),
    r: u * 9 * size,
  }));
}

/** Straight furrows, pushed aside by the rings around each stone. */
function rake(ctx, w, h, u, stones, hour, pale) {
  const gap = u * 2.1;
  const [dark, light] = [clear(hour.ink, hour.tone === "light" ? 0.34 : 0.5), clear(mix(pale, "#ffffff", 0.55), hour.tone === "light" ? 0.9 : 0.3)];
  for (let y0 = -gap * 8; y0 < h + gap * 8; y0 += gap) {
    for (const [colour, off] of [[dark, 0], [light, u * 0.34]]) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = Math.max(0.8, u * 0.26);
      ctx.beginPath();
      for (let x = 0; x <= w + u; x += u * 0.8) {
        const y = y0 + off + stones.reduce((sum, stone) => sum + push(stone, x, y0), 0);
        if (x === 0) ctx.moveTo(x, y);
        else ctx.lineTo(x, y);
      }
      ctx.stroke();
    }
  }
  for (const stone of stones) {
    for (let ring = 5; ring >= 0; ring -= 1) {
      const radius = stone.r * 1.12 + ring * gap;
      if (ring === 5) {
        ctx.fillStyle = pale;
        circle(ctx, stone, radius + gap * 0.4);
        ctx.fill();
      }
      for (const [colour, off] of [[dark, 0], [light, u * 0.34]]) {
        ctx.strokeStyle = colour;
        circle(ctx, stone, radius + off);
        ctx.stroke();
      }
    }
  }
}

function circle(ctx, stone, radius) {
  ctx.beginPath();
  ctx.ellipse(stone.x, stone.y, radius * 1.08, radius * 0.94, 0, 0, Math.PI * 2);
}

function push(stone, x, y) {
  const [dx, dy] = [(x - stone.x) / (stone.r * 2.6), (y - stone.y) / (stone.r * 2.4)];
  return Math.sign(dy || 1) * stone.r * 0.85 * Math.exp(-(dx * dx + dy * dy));
}

function island(ctx, stone, u, random, hour, pale, deep) {
  ctx.save();
  ctx.translate(stone.x, stone.y);
  ctx.fillStyle = clear(mix("#47603a", hour.ink, 0.35), 0.95);
  blob(ctx, stone.r * 1.0, stone.r * 0.82, random.fork("moss"), 0.05);
  ctx.fillStyle = clear(hour.ink, 0.42);
  ctx.translate(u * 1.1, u * 1.3);
  blob(ctx, stone.r * 0.72, stone.r * 0.56, random.fork("rock"), 0.16);
  ctx.translate(-u * 1.1, -u * 1.3);
  const body = ctx.createLinearGradient(-stone.r * 0.5, -stone.r * 0.5, stone.r * 0.5, stone.r * 0.6);
  const base = mix(hour.ink, deep, 0.25);
  body.addColorStop(0, mix(base, "#ffffff", 0.5));
  body.addColorStop(0.35, mix(base, "#ffffff", 0.18));
  body.addColorStop(1, mix(base, "#000000", 0.35));
  ctx.fillStyle = body;
  blob(ctx, stone.r * 0.72, stone.r * 0.56, random.fork("rock"), 0.16);
  ctx.clip();
  grain(ctx, stone.r, stone.r, random.fork("grain"), u);
  ctx.strokeStyle = clear(hour.gold, 0.8);
  ctx.lineWidth = Math.max(0.8, u * 0.2);
  vein(ctx, stone.r, random.fork("vein"));
  ctx.restore();
}

function blob(ctx, rx, ry, random, rough) {
  const points = Array.from({ length: 11 }, (_, i) => {
    const angle = (i / 11) * Math.PI * 2;
    const reach = 1 + random.between(-rough, rough);
    return [Math.cos(angle) * rx * reach, Math.sin(angle) * ry * reach];
  });
  ctx.beginPath();
  points.forEach((point, i) => {
    const following = points[(i + 1) % points.length];
    const middle = [(point[0] + following[0]) / 2, (point[1] + following[1]) / 2];
    if (i === 0) {
      const last = points[points.length - 1];
      ctx.moveTo((last[0] + point[0]) / 2, (last[1] + point[1]) / 2);
    }
    ctx.quadraticCurveTo(point[0], point[1], middle[0], middle[1]);
  });
  ctx.closePath();
  ctx.fill();
}

/** A crack mended with gold. */
function vein(ctx, r, random) {
  let [x, y] = [-r * 0.6, r * random.between(-0.3, 0.1)];
  ctx.beginPath();
  ctx.moveTo(x, y);
  for (let i = 0; i < 7; i += 1) {
    x += r * 0.19;
    y += r * random.between(-0.09, 0.16);
    ctx.lineTo(x, y);
  }
  ctx.stroke();
}

function beam(ctx, w, h, random, hour) {
  const x = w * random.between(0.1, 0.5);
  const light = ctx.createLinearGradient(x, 0, x + w * 0.5, h);
  light.addColorStop(0, clear(hour.tone === "light" ? "#ffffff" : hour.light, 0.26));
  light.addColorStop(0.7, clear(hour.light, 0));
  ctx.fillStyle = light;
  ctx.beginPath();
  ctx.moveTo(x, 0);
  ctx.lineTo(x + w * 0.3, 0);
  ctx.lineTo(x + w * 0.75, h);
  ctx.lineTo(x + w * 0.3, h);
  ctx.fill();
}
