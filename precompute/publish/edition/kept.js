// Says how much of the event is on this device, and goes over to a new edition between two games.
import { STRINGS } from "../booth/strings.js";

const EVERY = 60_000;
const edition = document.querySelector("#edition").textContent;
const line = document.body.appendChild(Object.assign(document.createElement("p"), { id: "kept", className: "small" }));
const worker = navigator.serviceWorker;
let state = null;

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

function show() {
  const words = STRINGS[document.documentElement.lang];
  line.textContent = !state ? "" : state.whole ? words.kept(state.of, size(state.bytes))
    : state.fault ? words.notKept : words.keeping(Math.floor((100 * state.kept) / state.of));
  line.dataset.whole = state?.whole ? "yes" : "no";
}

async function look() {
  (await worker?.getRegistration())?.active?.postMessage("keep");
  const response = await fetch("edition.json", { cache: "no-cache" }).catch(() => null);
  const idle = document.querySelector("#stage").dataset.screen !== undefined ? document.querySelector('#stage[data-screen="start"]') : true;
  if (response?.ok && idle && (await response.text()) !== edition) location.reload();
}

worker?.addEventListener("message", ({ data }) => {
  state = data;
  show();
});
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
