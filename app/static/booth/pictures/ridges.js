// 稜線: ridge behind ridge in the mist over still water.
import { clear, land, mix, moon, residence, roughness, wash } from "./brush.js";

export const hours = ["dawn", "dusk", "night", "indigo", "pine", "mist", "snow"];

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, hour.sky);
  const disc = random.fork("disc");
  const mx = w * disc.between(0.16, 0.58);
  const my = h * disc.between(0.14, 0.34);
  moon(ctx, mx, my, u * disc.between(4.5, 9), hour.light);
  const shore = h * random.fork("shore").between(0.74, 0.82);
  const count = 6;
  const home = random.fork("home");
  const homeAt = { layer: home.whole(2, 3), x: home.between(0.2, 0.62) };
  for (let i = 0; i < count; i += 1) {
    const near = i / (count - 1);
    const line = roughness(random.fork(`ridge${i}`), 2.1 + i * 0.9, 6);
    const top = h * (0.36 + near * 0.34);
    const rise = h * (0.4 - near * 0.2);
    const height = (x) => Math.min(shore, top + rise * 0.55 - line(x) * rise);
    const colour = mix(hour.sky[3], hour.ink, 0.14 + near * 0.8);
    if (i === homeAt.layer) {
      residence(ctx, w * homeAt.x, height(homeAt.x) + u * 2, u * 15, mix(colour, hour.ink, 0.55), hour);
    }
    ctx.fillStyle = colour;
    land(ctx, w, shore, height);
    if (i < count - 1) {
      const mist = h * (0.16 - near * 0.07);
      wash(ctx, 0, top + rise * 0.25, w, mist, [clear(hour.sky[3], 0), clear(hour.sky[3], 0.38 - near * 0.2)]);
      ctx.fillStyle = clear(hour.sky[3], 0.38 - near * 0.2);
      ctx.fillRect(0, top + rise * 0.25 + mist, w, Math.max(0, shore - top - rise * 0.25 - mist));
    }
  }
  water(ctx, w, h, u, shore, mx, random.fork("water"), hour);
}

function water(ctx, w, h, u, shore, mx, random, hour) {
  const deep = mix(hour.sky[1], hour.ink, hour.tone === "dark" ? 0.45 : 0.12);
  wash(ctx, 0, shore, w, h - shore, [mix(hour.sky[2], deep, 0.35), deep]);
  ctx.fillStyle = clear(hour.ink, 0.35);
  ctx.fillRect(0, shore - u * 0.15, w, u * 0.3);
  for (let i = 0; i < 90; i += 1) {
    const down = random.next() ** 1.6;
    const y = shore + down * (h - shore);
    const glint = random.next() < 0.55;
    const spread = u * (3 + down * 16);
    const x = glint ? mx + (random.next() - 0.5) * spread : random.next() * w;
    const length = u * random.between(1, 5) * (0.6 + down * 1.6);
    ctx.fillStyle = clear(glint ? hour.light : hour.sky[3], random.between(0.06, glint ? 0.42 : 0.16));
    ctx.fillRect(x - length / 2, y, length, Math.max(1, u * 0.14 * (0.6 + down)));
  }
}
