// 丸窓: a dark room, a lattice, and a round window with everything that the flat does not have.
import { clear, land, mix, moon, residence, roughness, wash } from "./brush.js";

export const hours = ["dawn", "dusk", "night", "indigo", "pine"];

export function draw(ctx, w, h, u, random, hour) {
  const wall = mix(hour.ink, hour.sky[1], 0.28);
  wash(ctx, 0, 0, w, h, [mix(wall, hour.ink, 0.25), wall, mix(wall, hour.ink, 0.5)]);
  const place = random.fork("place");
  const radius = Math.min(w * 0.33, h * 0.35);
  const [cx, cy] = [w * place.between(0.36, 0.42), h * place.between(0.46, 0.5)];
  lattice(ctx, w, h, u, random.fork("lattice"), hour);
  ctx.save();
  ctx.beginPath();
  ctx.arc(cx, cy, radius, 0, Math.PI * 2);
  ctx.clip();
  view(ctx, cx, cy, radius, u, random, hour);
  ctx.restore();
  frame(ctx, cx, cy, radius, u, hour);
  branch(ctx, cx, cy, radius, u, random.fork("branch"), hour);
  sill(ctx, w, h, u, cx, radius, hour);
}

function lattice(ctx, w, h, u, random, hour) {
  const step = u * random.between(7, 10);
  const high = step * Math.sqrt(3) / 2;
  ctx.strokeStyle = clear(hour.gold, 0.11);
  ctx.lineWidth = Math.max(0.7, u * 0.12);
  ctx.beginPath();
  for (let j = -1; j * high < h + step; j += 1) {
    for (let i = -1; i * step < w + step; i += 1) {
      const [x, y] = [i * step + (j & 1 ? step / 2 : 0), j * high];
      hemp(ctx, [x, y], [x + step, y], [x + step / 2, y + high]);
      hemp(ctx, [x + step, y], [x + step / 2, y + high], [x + step * 1.5, y + high]);
    }
  }
  ctx.stroke();
}

/** One triangle of the hemp leaf: its sides, and its corners joined at its middle. */
function hemp(ctx, ...corners) {
  const middle = [0, 1].map((axis) => corners.reduce((sum, corner) => sum + corner[axis], 0) / 3);
  corners.forEach((corner, i) => {
    const following = corners[(i + 1) % 3];
    ctx.moveTo(corner[0], corner[1]);
    ctx.lineTo(following[0], following[1]);
    ctx.moveTo(corner[0], corner[1]);
    ctx.lineTo(middle[0], middle[1]);
  });
}

function view(ctx, cx, cy, radius, u, random, hour) {
  ctx.translate(cx - radius, cy - radius);
  const size = radius * 2;
  wash(ctx, 0, 0, size, size, hour.sky);
  const disc = random.fork("disc");
  moon(ctx, size * disc.between(0.28, 0.5), size * disc.between(0.22, 0.36), radius * disc.between(0.12, 0.2), hour.light);
  const home = random.fork("home").between(0.56, 0.74);
  for (let i = 0; i < 4; i += 1) {
    const line = roughness(random.fork(`hill${i}`), 1.5 + i, 5);
    const top = size * (0.52 + i * 0.1);
    const colour = mix(hour.sky[3], hour.ink, 0.2 + i * 0.2);
    const height = (x) => top + size * 0.07 - line(x) * size * 0.19;
    if (i === 2) residence(ctx, size * home, height(home) + u * 2, radius * 0.62, mix(colour, hour.ink, 0.5), hour);
    ctx.fillStyle = colour;
    land(ctx, size, size, height);
    wash(ctx, 0, top, size, size * 0.12, [clear(hour.sky[3], 0), clear(hour.sky[3], 0.22)]);
  }
}

function frame(ctx, cx, cy, radius, u, hour) {
  ctx.strokeStyle = mix(hour.ink, "#000000", 0.3);
  ctx.lineWidth = u * 1.7;
  ctx.beginPath();
  ctx.arc(cx, cy, radius + u * 0.6, 0, Math.PI * 2);
  ctx.stroke();
  ctx.strokeStyle = clear(hour.gold, 0.9);
  ctx.lineWidth = Math.max(1, u * 0.22);
  ctx.beginPath();
  ctx.arc(cx, cy, radius + u * 1.6, 0, Math.PI * 2);
  ctx.stroke();
}

function branch(ctx, cx, cy, radius, u, random, hour) {
  const side = random.pick([-1, 1]);
  const start = [cx + side * radius * 1.06, cy - radius * random.between(0.1, 0.5)];
  const blossoms = [];
  ctx.strokeStyle = mix(hour.ink, "#000000", 0.4);
  ctx.lineCap = "round";
  const grow = (x, y, angle, length, width, left) => {
    const [tx, ty] = [x + Math.cos(angle) * length, y + Math.sin(angle) * length];
    const bend = random.between(-0.35, 0.35);
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.quadraticCurveTo(x + Math.cos(angle + bend) * length * 0.5, y + Math.sin(angle + bend) * length * 0.5, tx, ty);
    ctx.stroke();
    if (left < 3) blossoms.push([tx, ty]);
    if (!left) return;
    grow(tx, ty, angle + random.between(-0.3, 0.35), length * 0.78, width * 0.72, left - 1);
    if (random.next() < 0.85) grow(tx, ty, angle + random.pick([-1, 1]) * random.between(0.5, 0.9), length * 0.6, width * 0.55, left - 1);
  };
  grow(start[0], start[1], side < 0 ? 0.1 : Math.PI - 0.1, radius * 0.34, u * 1.1, 5);
  const colour = mix(hour.light, "#e7a7a0", 0.45);
  for (const [x, y] of blossoms) blossom(ctx, x, y, u * random.between(0.7, 1.35), colour, random);
}

function blossom(ctx, x, y, size, colour, random) {
  const turn = random.next() * Math.PI;
  ctx.fillStyle = clear(colour, random.between(0.75, 1));
  for (let i = 0; i < 5; i += 1) {
    const angle = turn + (i * Math.PI * 2) / 5;
    ctx.beginPath();
    ctx.arc(x + Math.cos(angle) * size * 0.5, y + Math.sin(angle) * size * 0.5, size * 0.42, 0, Math.PI * 2);
    ctx.fill();
  }
}

function sill(ctx, w, h, u, cx, radius, hour) {
  const top = h - u * 9;
  wash(ctx, 0, top, w, h - top, [mix(hour.ink, hour.sky[2], 0.18), mix(hour.ink, "#000000", 0.35)]);
  ctx.fillStyle = clear(hour.gold, 0.5);
  ctx.fillRect(0, top, w, Math.max(1, u * 0.14));
  const shine = ctx.createRadialGradient(cx, top, 0, cx, top, radius);
  shine.addColorStop(0, clear(hour.sky[3], 0.28));
  shine.addColorStop(1, clear(hour.sky[3], 0));
  ctx.fillStyle = shine;
  ctx.fillRect(0, top, w, h - top);
}
