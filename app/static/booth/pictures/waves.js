// 青海波: a sea of seigaiha that grows towards the onlooker, a disc on its horizon.
import { clear, mix, moon, residence, wash } from "./brush.js";

export const hours = ["dawn", "dusk", "indigo", "pine", "snow", "leaf", "night"];

export function draw(ctx, w, h, u, random, hour) {
  const horizon = h * random.fork("horizon").between(0.5, 0.58);
  wash(ctx, 0, 0, w, horizon, hour.sky);
  const disc = random.fork("disc");
  const sun = u * disc.between(13, 20);
  moon(ctx, w * disc.between(0.3, 0.55), horizon - sun * disc.between(0.05, 0.6), sun, hour.light, 3, 0.32);
  bands(ctx, w, horizon, u, random.fork("bands"), hour);
  const home = random.fork("home");
  const at = w * home.pick([home.between(0.1, 0.22), home.between(0.62, 0.72)]);
  ctx.fillStyle = mix(hour.sky[3], hour.ink, 0.72);
  ctx.beginPath();
  ctx.ellipse(at, horizon + u * 0.2, u * 9, u * 2.2, 0, Math.PI, 0);
  ctx.fill();
  residence(ctx, at, horizon - u * 1.2, u * 17, mix(hour.sky[3], hour.ink, 0.72), hour);
  sea(ctx, w, h, u, horizon, random.fork("sea"), hour);
}

function bands(ctx, w, horizon, u, random, hour) {
  for (let i = 0; i < 5; i += 1) {
    const y = horizon * random.between(0.35, 0.93);
    const [x, length] = [random.between(-0.2, 0.7) * w, random.between(0.3, 0.7) * w];
    const fade = ctx.createLinearGradient(x, 0, x + length, 0);
    fade.addColorStop(0, clear(hour.sky[3], 0));
    fade.addColorStop(0.5, clear(hour.sky[3], 0.5));
    fade.addColorStop(1, clear(hour.sky[3], 0));
    ctx.fillStyle = fade;
    ctx.fillRect(x, y, length, u * random.between(0.25, 0.9));
  }
}

function sea(ctx, w, h, u, horizon, random, hour) {
  const far = mix(hour.sky[2], hour.ink, hour.tone === "dark" ? 0.35 : 0.25);
  const near = mix(hour.sky[0], hour.ink, hour.tone === "dark" ? 0.5 : 0.62);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, horizon, w, h - horizon);
  ctx.clip();
  wash(ctx, 0, horizon, w, h - horizon, [far, near]);
  let [y, radius, odd] = [horizon + u * 1.2, u * 2.4, 0];
  while (y - radius < h) {
    const depth = Math.min(1, (y - horizon) / (h - horizon));
    const fill = mix(far, near, depth);
    for (let x = w * 0.5 - Math.ceil(w / radius / 2 + 2) * radius + (odd ? radius : 0); x < w + radius; x += radius * 2) {
      scale(ctx, x, y + radius * 0.55, radius, u, fill, hour, depth, random);
    }
    y += radius * 0.5;
    radius *= 1.06;
    odd = 1 - odd;
  }
  ctx.restore();
}

function scale(ctx, x, y, radius, u, fill, hour, depth, random) {
  ctx.fillStyle = fill;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, Math.PI * 2);
  ctx.fill();
  const golden = random.next() < 0.035;
  for (let ring = 0; ring < 4; ring += 1) {
    ctx.strokeStyle = clear(golden ? hour.gold : hour.sky[3], (golden ? 0.85 : 0.2 + depth * 0.28) * (1 - ring * 0.16));
    ctx.lineWidth = Math.max(0.7, u * (0.1 + depth * 0.16));
    ctx.beginPath();
    ctx.arc(x, y, radius * (0.985 - ring * 0.22), Math.PI, 0);
    ctx.stroke();
  }
}
