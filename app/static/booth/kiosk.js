// The kiosk: nobody is at the keyboard, and a finger must find no way out.

const STIRS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];
const WARNING = 10;

/** Keep zoom, menus, dragging and selection from the visitor's hands. */
export function shut() {
  document.documentElement.classList.add("kiosk");
  const stop = (event) => event.preventDefault();
  for (const name of ["contextmenu", "dragstart", "selectstart", "gesturestart", "gesturechange"]) {
    document.addEventListener(name, stop);
  }
  document.addEventListener("wheel", (event) => event.ctrlKey && event.preventDefault(), { passive: false });
  document.addEventListener("touchmove", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
  document.addEventListener("keydown", (event) => {
    // AltGr, with which signs are typed, is Ctrl and Alt on some systems.
    const chord = (event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph");
    if (chord || /^F\d+$/.test(event.key)) event.preventDefault();
  });
  // A swipe or a mouse's side button goes back in history: there is always one more page of ours.
  history.pushState(null, "");
  addEventListener("popstate", () => history.pushState(null, ""));
}

/**
 * Call back when nobody has stirred for some seconds, and tell of it beforehand.
 * @param {() => number} seconds
 * @param {{busy: () => boolean, warn: (left: number) => void, leave: () => void}} hooks
 */
export function watchIdle(seconds, { busy, warn, leave }) {
  let stirred = performance.now();
  for (const name of STIRS) {
    addEventListener(name, () => { stirred = performance.now(); }, { passive: true, capture: true });
  }
  setInterval(() => {
    if (!busy()) {
      stirred = performance.now();
      return;
    }
    const limit = seconds();
    const warning = Math.min(WARNING, Math.floor(limit / 2));
    const left = Math.ceil(limit - (performance.now() - stirred) / 1000);
    if (left <= 0) {
      stirred = performance.now();
      leave();
    } else {
      warn(left <= warning ? left : 0);
    }
  }, 250);
}
