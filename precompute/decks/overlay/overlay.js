/**
 * What a preview adds to a page: it loads the page again when the deck was saved, and shows what is wrong with it.
 *
 * The state comes from `/_preview/state`, which answers when it has changed.
 * @typedef {{serial: number, version: number, told: string, faults: {error: boolean, text: string}[]}} State
 */
"use strict";

const host = document.createElement("div");
// A tree of its own, so that neither the page's styles nor ours reach each other.
const root = host.attachShadow({ mode: "open" });
const style = document.createElement("link");
style.rel = "stylesheet";
style.href = "/_preview/overlay.css";
const panel = document.createElement("details");
const summary = document.createElement("summary");
const list = document.createElement("ul");
panel.append(summary, list);
root.append(style, panel);
panel.open = true;

/** @param {State} state */
function show(state) {
  summary.textContent = state.told;
  list.replaceChildren(...state.faults.map((fault) => {
    const line = document.createElement("li");
    line.className = fault.error ? "error" : "warning";
    line.textContent = fault.text;
    return line;
  }));
  panel.className = state.faults.some((fault) => fault.error) ? "error" : "";
  panel.hidden = !state.faults.length;
}

async function follow() {
  let serial = -1;
  let version = -1;
  for (;;) {
    try {
      const response = await fetch(`/_preview/state?after=${serial}`);
      /** @type {State} */
      const state = await response.json();
      if (version >= 0 && state.version !== version) {
        location.reload();
        return;
      }
      ({ serial, version } = state);
      show(state);
    } catch {
      // The preview was stopped, or is being started again.
      await new Promise((resolve) => { setTimeout(resolve, 1000); });
    }
  }
}

document.body.append(host);
follow();
