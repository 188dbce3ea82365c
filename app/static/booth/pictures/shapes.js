// Geometric shapes in the theme's colours: a picture that says nothing of what the text is about.
import { mix, wash } from "./brush.js";

const QUARTER = Math.PI / 2;

/** What stands in a cell of side 1, around its middle. */
const MOTIFS = {
  disc: (ctx) => { ctx.arc(0, 0, 0.5, 0, 4 * QUARTER); },
  half: (ctx) => { ctx.arc(0, 0.25, 0.5, 2 * QUARTER, 4 * QUARTER); },
  quarter: (ctx) => { ctx.moveTo(-0.5, 0.5); ctx.arc(-0.5, 0.5, 1, 3 * QUARTER, 4 * QUARTER); },
  arch: (ctx) => { ctx.arc(0, 0, 0.5, 2 * QUARTER, 4 * QUARTER); ctx.lineTo(0.5, 0.5); ctx.lineTo(-0.5, 0.5); },
  square: (ctx) => { ctx.rect(-0.5, -0.5, 1, 1); },
  bars: (ctx) => { for (let i = 0; i < 4; i += 1) ctx.rect(-0.5, i / 4 - 0.5, 1, 0.12); },
  ring: (ctx) => { ctx.arc(0, 0, 0.5, 0, 4 * QUARTER); ctx.moveTo(0.28, 0); ctx.arc(0, 0, 0.28, 0, 4 * QUARTER, true); },
};

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, [hour.sky[0], hour.sky[1]]);
  const side = u * random.fork("side").whole(20, 34);
  const colours = [hour.sky[2], hour.sky[3], mix(hour.sky[3], hour.gold, 0.5), hour.gold];
  const accent = random.fork("accent");
  const [across, down] = [Math.ceil(w / side), Math.ceil(h / side)];
  // A title stands on the right and above, a name at the foot: nothing there is as light as they are.
  const busy = Math.max(1, Math.floor(across * 0.36));
  const bright = [accent.whole(0, busy - 1), accent.whole(1, Math.max(1, Math.floor(down / 2)))];
  for (let column = 0; column < across; column += 1) {
    for (let row = 0; row < down; row += 1) {
      const cell = random.fork(`${column}|${row}`);
      const chosen = column === bright[0] && row === bright[1];
      if (!chosen && cell.next() < 0.34) continue;
      ctx.save();
      ctx.translate((column + 0.5) * side, h - (row + 0.5) * side);
      ctx.rotate(cell.whole(0, 3) * QUARTER);
      ctx.scale(side, side);
      ctx.fillStyle = chosen ? hour.light : cell.pick(column < busy && row > 0 && row < down * 0.6 ? colours : colours.slice(0, 2));
      ctx.beginPath();
      MOTIFS[chosen ? "disc" : cell.pick(Object.keys(MOTIFS))](ctx);
      ctx.fill();
      ctx.restore();
    }
  }
}
