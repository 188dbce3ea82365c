// A wash of the theme's colours and nothing else.
import { wash } from "./brush.js";

export function draw(ctx, w, h, u, random, hour) {
  wash(ctx, 0, 0, w, h, hour.sky);
}
