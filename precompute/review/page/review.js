// The reviewer's page. The log is the truth: each decision is sent at once, and the row comes back.

const PAGE = 50;
const token = location.hash.slice(1) || sessionStorage.getItem("tsukurioki-review") || "";
sessionStorage.setItem("tsukurioki-review", token);
const main = document.querySelector("#answers");
const notice = document.querySelector("#notice");
const form = document.querySelector("#filter");
const state = { words: {}, choices: {}, rows: [], total: 0, at: 0, asked: 0, sending: false };

/** @param {string} name as in "p.note" @param {Record<string, unknown>} attributes @param {...(Node|string)} children */
function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(key, String(value));
  }
  element.append(...children);
  return element;
}

/** @returns {Promise<{status: number, value: any}>} status 0: nobody answers */
async function ask(path, body) {
  try {
    const response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return { status: response.status, value: await response.json() };
  } catch {
    return { status: 0, value: { error: state.words.away ?? "" } };
  }
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

// What is shown.

function choice(name, values) {
  const options = ["", ...values].map((value) => make("option", { value }, state.words[value || "all"] ?? value));
  return make("label", {}, state.words[name], make("select", { name }, ...options));
}

function layFilter() {
  const { words } = state;
  form.replaceChildren(
    make("label", {}, words.search, make("input", { name: "search", type: "search" })),
    choice("status", ["open", "waiting", "approved", "edited", "rejected", "deleted"]), choice("source", []),
    choice("check", ["passes", "fails"]), choice("votes", ["up", "down"]),
    ...["least", "most"].map((name) => make("label", {}, words[name], make("input", { name, type: "number", min: 0 }))));
  document.querySelector("#keys").replaceChildren(...Object.entries(words.keys).flatMap(([key, what]) => [make("kbd", {}, key), ` ${what}  `]));
}

const written = (number) => number.toLocaleString(document.documentElement.lang);
const label = (name) => state.words.labels[name] ?? name;

function showCounts() {
  const { words, counts } = state;
  const parts = Object.entries(counts.status).filter(([, count]) => count).map(([name, count]) => `${words[name]} ${written(count)}`);
  document.querySelector("#counts").textContent = `${written(state.total)} ${words.shown} · ${parts.join(" · ")}`;
  offer("source", Object.keys(counts.source));
  offer("check", state.rows.filter((row) => row.check).map((row) => row.check.split(":")[0]));
}

/** Add values to a choice of the filter, each once. @param {string} name @param {string[]} values */
function offer(name, values) {
  const select = form.elements[name];
  const known = new Set([...select.options].map((option) => option.value));
  for (const value of new Set(values)) if (!known.has(value)) select.append(make("option", { value }, value));
}

function article(row) {
  const { words } = state;
  const asked = make("dl.asked", {}, ...row.asked.flatMap(([name, text]) => [make("dt", {}, label(name)), make("dd", {}, text)]));
  const texts = make("div.texts", {}, ...Object.values(row.texts).map((text) => make("p.text", {}, text)));
  const about = [words[row.status], `${written(row.length)} ${words.characters}`, row.source, row.model];
  if (row.writer !== row.source) about.push(`${words.from} ${row.writer}`);
  if (row.votes[0] || row.votes[1]) about.push(`▲${written(row.votes[0])} ▼${written(row.votes[1])}`);
  if (row.decision?.note) about.push(`“${row.decision.note}”`);
  if (row.decision?.forced) about.push(`${words.forced} ${row.decision.forced}`);
  const foot = make("p.about", {}, about.join(" · "));
  if (row.check && !row.decision?.forced) foot.append(" · ", make("span.check", {}, row.check));
  return make("article.answer", { tabindex: -1, "data-status": row.status, "data-key": row.key, "data-variant": row.variant }, asked, texts, foot);
}

function draw(place) {
  main.children[place].replaceWith(article(state.rows[place]));
}

function go(place) {
  state.at = Math.max(0, Math.min(place, state.rows.length - 1));
  const element = main.children[state.at];
  element?.focus({ preventScroll: true });
  element?.scrollIntoView({ block: "nearest" });
  if (state.at >= state.rows.length - 5) more();
}

async function load() {
  const asked = ++state.asked;
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const { status, value } = await ask(`/api/answers?${query}&limit=${PAGE}`);
  if (asked !== state.asked) return;
  if (status !== 200) { say(value.error); return; }
  Object.assign(state, { rows: value.rows, total: value.total, counts: value.counts, at: 0, query });
  main.replaceChildren(...(value.rows.length ? value.rows.map(article) : [make("p", {}, state.words.none)]));
  showCounts();
  say(value.problem);
  document.body.dataset.ready = "yes";
}

async function more() {
  if (state.loading || state.rows.length >= state.total) return;
  state.loading = true;
  const { asked } = state;
  // What was decided may no longer be among what is wanted: the list is read again, without what is shown.
  const seen = new Set(state.rows.map((row) => `${row.key}/${row.variant}`));
  const { status, value } = await ask(`/api/answers?${state.query}&limit=200&offset=${Math.max(0, state.rows.length - 150)}`);
  if (status === 200 && asked === state.asked) {
    const fresh = value.rows.filter((row) => !seen.has(`${row.key}/${row.variant}`));
    state.rows.push(...fresh);
    main.append(...fresh.map(article));
    if (!fresh.length) state.total = state.rows.length;
  }
  state.loading = false;
}

// What is decided.

async function decide(said, place = state.at) {
  const row = state.rows[place];
  if (!row || state.sending) return null;
  state.sending = true;
  const reply = await ask(`/api/answers/${row.key}/${row.variant}`, { mark: row.mark, ...said });
  state.sending = false;
  if (reply.status === 200) {
    const { status } = state.counts;
    status[row.status] -= 1;
    status[reply.value.status] = (status[reply.value.status] ?? 0) + 1;
    state.rows[place] = reply.value;
    draw(place);
    showCounts();
    say("");
  } else if (reply.status !== 422) {
    say(reply.status === 409 ? state.words.changed : reply.value.error);
    if (reply.status === 409) await again(place);
  }
  return reply;
}

/** Read one row again, which somebody else has changed. */
async function again(place) {
  const row = state.rows[place];
  const { status, value } = await ask(`/api/answers?search=${row.key}`);
  const now = status === 200 && value.rows.find((one) => one.key === row.key && one.variant === row.variant);
  if (!now) return;
  state.rows[place] = now;
  draw(place);
  go(place);
}

async function verdict(name, note = "") {
  const reply = await decide({ verdict: name, note });
  if (reply?.status === 200) go(state.at + 1);
}

async function undo() {
  const reply = await decide({ verdict: "reopened" });
  if (reply?.status === 200) go(state.at);
}

function edit() {
  const { words } = state;
  const place = state.at;
  const row = state.rows[place];
  if (!row || !Object.keys(row.texts).length || main.querySelector(".edit")) return;
  const fields = Object.entries(row.texts).map(([name, text]) => {
    const choices = state.choices[name];
    const field = choices ? make("input", { name, list: `choices-${name}`, autocomplete: "off" })
      : make("textarea", { name, rows: Math.min(14, 2 + Math.ceil(text.length / 40)) });
    field.value = text;
    // All of it, because a list offers only what has the field's text in it.
    if (choices) field.addEventListener("focus", () => field.select());
    return make("label", {}, label(name), field);
  });
  const told = make("p.check", { role: "alert" });
  const note = make("label", { hidden: "" }, words.note, make("input", { name: "note", maxlength: 1000 }));
  const force = make("button", { type: "button", hidden: "", onclick: () => save(true) }, words.force);
  const box = make("form.edit", { onsubmit: (event) => { event.preventDefault(); save(false); } }, ...fields, told, note,
    make("div.actions", {}, make("button", { type: "submit" }, words.save), force, make("button", { type: "button", onclick: close }, words.cancel)));

  function close() { draw(place); go(place); }

  async function save(forced) {
    const values = Object.fromEntries(new FormData(box));
    const { note: why, ...texts } = values;
    if (forced && !why.trim()) { note.querySelector("input").focus(); return; }
    const reply = await decide({ verdict: "edited", texts, note: why, force: forced }, place);
    if (reply?.status === 200) { go(place + 1); return; }
    if (reply?.status !== 422) return;
    told.textContent = `${words.refused} ${reply.value.refusal}`;
    // The focus stays: who goes on writing mends the text.
    note.hidden = force.hidden = false;
  }

  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); close(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(false); }
    event.stopPropagation();
  });
  main.children[place].querySelector(".texts").replaceWith(box);
  box.querySelector("input, textarea").focus();
}

const KEYS = {
  j: () => go(state.at + 1), ArrowDown: () => go(state.at + 1), k: () => go(state.at - 1), ArrowUp: () => go(state.at - 1),
  a: () => verdict("approved"), e: edit, r: () => verdict("rejected"), u: undo,
  R: () => { const why = prompt(state.words.why); if (why !== null) verdict("rejected", why); },
  D: () => { if (confirm(state.words.sure)) verdict("deleted"); },
  "/": () => form.elements.search.focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.("input, select, textarea")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.closest("#filter"))) { event.preventDefault(); go(state.at); }
    return;
  }
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
main.addEventListener("focusin", (event) => {
  const place = [...main.children].indexOf(event.target.closest(".answer"));
  if (place >= 0) state.at = place;
});
main.addEventListener("click", (event) => {
  const place = [...main.children].indexOf(event.target.closest(".answer"));
  if (place >= 0 && !main.querySelector(".edit") && !String(getSelection())) go(place);
});
let wait = 0;
form.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(load, 200); });
form.addEventListener("submit", (event) => event.preventDefault());

const { status, value } = await ask(`/api/deck${location.search}`);
if (status === 200) {
  Object.assign(state, { words: value.words, choices: value.choices });
  document.body.append(...Object.entries(value.choices).map(([name, values]) =>
    make("datalist", { id: `choices-${name}` }, ...values.map((text) => make("option", { value: text })))));
  document.documentElement.lang = value.shown;
  main.lang = value.language;
  if (value.language === "ja") delete document.documentElement.dataset.type;
  document.querySelector("#name").textContent = `${value.words.title} — ${value.name}`;
  layFilter();
  await load();
  go(0);
} else {
  say(status === 401 ? "Open the whole address that precompute review printed. / precompute review が表示したアドレスを全部開いてください。 / Ouvrez toute l’adresse que precompute review a affichée." : value.error);
  document.body.dataset.ready = "no";
}
