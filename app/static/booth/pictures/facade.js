// 正面: a tower looked up at from its own entrance, floors without end, one of them at home.
import { clear, mix, moon, wash } from "./brush.js";

export const hours = ["dawn", "dusk", "night", "indigo", "snow", "mist"];

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, hour.sky);
  const place = random.fork("place");
  const edge = w * place.between(0.4, 0.52);
  const top = h * place.between(0.1, 0.18);
  const disc = random.fork("disc");
  moon(ctx, edge + w * disc.pick([-1, 1]) * disc.between(0.16, 0.26), top + h * disc.between(0.04, 0.2), u * disc.between(5, 9), hour.light);
  const floors = place.whole(20, 26);
  const lit = random.fork("lit");
  const home = { floor: lit.whole(5, 11), bay: lit.whole(1, 3), left: lit.next() < 0.5 };
  const near = mix(hour.sky[2], hour.ink, hour.tone === "dark" ? 0.9 : 0.62);
  const faces = [
    { side: -1, reach: w * place.between(0.3, 0.38), drop: h * 0.2, colour: near, mine: home.left },
    { side: 1, reach: w * place.between(0.2, 0.28), drop: h * 0.26, colour: mix(near, hour.sky[3], 0.24), mine: !home.left },
  ];
  for (const face of faces) wallOf(ctx, h, u, edge, top, floors, face, home, random.fork(`face${face.side}`), hour);
  ctx.fillStyle = clear(hour.gold, 0.85);
  ctx.fillRect(edge - u * 0.12, top, Math.max(1, u * 0.24), h - top);
  wash(ctx, 0, h * 0.72, w, h * 0.28, [clear(hour.ink, 0), clear(hour.ink, hour.tone === "dark" ? 0.75 : 0.25)]);
}

/** Floors shrink towards the top, bays towards the far edge. */
function wallOf(ctx, h, u, edge, top, floors, face, home, random, hour) {
  const foot = h * 1.12;
  const bays = 6;
  const level = (floor) => foot - (foot - top) * (1 - (1 - floor / floors) ** 1.9);
  const point = (bay, floor) => {
    const along = (bay / bays) ** 0.86;
    const y = level(floor);
    const sink = face.drop * along * ((foot - y) / (foot - top));
    return [edge + face.side * face.reach * along * (0.55 + 0.45 * ((y - top) / (foot - top))), y + sink];
  };
  const quad = (bay, floor, wide, high, inset = 0) => {
    ctx.beginPath();
    ctx.moveTo(...point(bay + inset, floor + inset));
    ctx.lineTo(...point(bay + wide - inset, floor + inset));
    ctx.lineTo(...point(bay + wide - inset, floor + high - inset));
    ctx.lineTo(...point(bay + inset, floor + high - inset));
    ctx.closePath();
  };
  ctx.fillStyle = face.colour;
  quad(0, 0, bays, floors);
  ctx.fill();
  for (let floor = 0; floor < floors - 1; floor += 1) {
    for (let bay = 0; bay < bays; bay += 1) {
      const mine = face.mine && floor === home.floor && bay === home.bay;
      quad(bay, floor, 1, 1, 0.17);
      ctx.fillStyle = mine ? mix(hour.gold, "#ffffff", 0.3) : clear(hour.sky[random.whole(1, 3)], random.between(0.12, 0.34));
      ctx.fill();
      if (mine) shine(ctx, ...point(bay + 0.5, floor + 0.5), u, hour);
    }
    ctx.strokeStyle = clear(hour.sky[3], 0.2);
    ctx.lineWidth = Math.max(0.6, u * 0.12);
    ctx.beginPath();
    ctx.moveTo(...point(0, floor));
    for (let bay = 1; bay <= bays; bay += 1) ctx.lineTo(...point(bay, floor));
    ctx.stroke();
  }
}

function shine(ctx, x, y, u, hour) {
  const glow = ctx.createRadialGradient(x, y, 0, x, y, u * 16);
  glow.addColorStop(0, clear(hour.gold, 0.55));
  glow.addColorStop(1, clear(hour.gold, 0));
  ctx.fillStyle = glow;
  ctx.fillRect(x - u * 16, y - u * 16, u * 32, u * 32);
}
