// Says how much of the event is on this device, and goes over to a new edition between two games.
import { numbersOf } from "../booth/numbers.js";
import { STRINGS } from "../booth/strings.js";

const EVERY = 60_000;
const edition = document.querySelector("#edition").textContent;
const stage = document.querySelector("#stage");
const line = Object.assign(document.createElement("span"), { id: "kept" });
const worker = navigator.serviceWorker;
let state = null;

const size = (bytes, n, units) => (bytes < 1e6 ? `${n.fixed(Math.ceil(bytes / 1e3))} ${units.kB}` : `${n.fixed(bytes / 1e6, 1)} ${units.MB}`);

/** Below the small print of the first screen, which is made anew for every game. */
function place() {
  document.querySelector(".start-small")?.append(" ", line);
}

function show() {
  const { lang } = document.documentElement;
  const [words, n] = [STRINGS[lang], numbersOf(lang)];
  line.textContent = !state ? "" : state.whole ? words.kept(n.fixed(state.of), size(state.bytes, n, words.units))
    : state.fault ? words.notKept : words.keeping(Math.floor((100 * state.kept) / state.of));
  line.dataset.whole = state?.whole ? "yes" : "no";
}

/** Go over to an edition that has taken the place of this one, if nobody plays. */
async function compare() {
  const response = await fetch("edition.json", { cache: "no-cache" }).catch(() => null);
  // The wall has no screens.
  const idle = (stage.dataset.screen ?? "start") === "start";
  if (response?.ok && idle && (await response.text()) !== edition) location.reload();
}

/** The worker keeps a new edition whole before it gives it out, and then says so. */
async function look() {
  const active = (await worker?.getRegistration())?.active;
  if (active) active.postMessage("keep");
  else await compare();
}

worker?.addEventListener("message", ({ data }) => {
  state = data;
  show();
  if (state.whole) compare();
});
new MutationObserver(place).observe(stage, { childList: true });
place();
new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["lang"] });
addEventListener("online", look);
setInterval(look, EVERY);
if (worker) {
  // A device that this was installed on is asked not to throw it away.
  if (matchMedia("(display-mode: standalone)").matches) navigator.storage?.persist?.();
  await worker.register(new URL("../../../sw.js", import.meta.url));
  await worker.ready;
  await look();
}
