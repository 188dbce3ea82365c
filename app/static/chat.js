// A conversation without a framework: send the whole history, show the events as they come.
import { shut, watchIdle } from "./booth/kiosk.js";

const deck = document.body.dataset.deck;
const talk = document.querySelector("#talk");
const who = document.querySelector("#who");
const say = document.querySelector("#say");
const message = document.querySelector("#message");
const stop = document.querySelector("#stop");
const state = document.querySelector("#state");
const token = document.querySelector("#token");
const help = document.querySelector("#help");
const contacts = document.querySelector("#contacts");

// For the host: /chat?why shows how each answer was chosen.
const why = new URLSearchParams(location.search).has("why") || undefined;
const kiosk = new URLSearchParams(location.search).has("kiosk");
const { home, idle, leaving } = document.body.dataset;
// One history and one conversation for each character.
const talks = new Map();
let running = null;

function current() {
  const character = new FormData(who).get("character");
  if (!talks.has(character)) talks.set(character, { character, messages: [], id: undefined, help: undefined });
  return talks.get(character);
}

function bubble(role, speaker) {
  const item = document.createElement("li");
  item.className = role;
  const name = document.createElement("b");
  name.textContent = speaker;
  const text = document.createElement("p");
  item.append(name, text);
  talk.append(item);
  item.scrollIntoView({ block: "end" });
  return { item, text };
}

function label(item, answer) {
  // Which tier answered is for the host, not for who stands before a kiosk.
  if (kiosk) return;
  const told = document.createElement("small");
  const near = answer.near ? "≈" : "";
  told.textContent = [answer.tier + near, answer.intent, answer.model].filter(Boolean).join(" ・ ");
  item.append(told);
  if (!answer.why) return;
  const reasons = document.createElement("pre");
  reasons.textContent = JSON.stringify(answer.why, null, 1);
  item.append(reasons);
}

function link(contact) {
  const phone = /^[0-9 +-]+$/.test(contact.number);
  // On a kiosk a link would be a way out.
  const element = document.createElement((phone || contact.url) && !kiosk ? "a" : "span");
  if (kiosk) element.className = "number";
  else if (phone) element.href = `tel:${contact.number.replaceAll(/[ -]/g, "")}`;
  else if (contact.url) element.href = contact.url;
  element.textContent = contact.number;
  return element;
}

// Who can be called stays in sight as long as the conversation is careful.
function showHelp(told) {
  help.hidden = !told;
  contacts.replaceChildren();
  for (const country of told?.countries ?? []) {
    const list = document.createElement("ul");
    for (const contact of country.contacts) {
      const item = document.createElement("li");
      item.append(`${contact.name} `, link(contact), contact.hours ? ` (${contact.hours})` : "");
      list.append(item);
    }
    const note = document.createElement("p");
    note.textContent = `${country.emergency} `;
    const checked = document.createElement("small");
    checked.textContent = `${country.name} ${country.checked}`;
    note.append(checked);
    contacts.append(list, note);
  }
}

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  const response = await fetch(path, { method: "POST", headers, signal, body: JSON.stringify(body) });
  if (response.ok) return response;
  if (response.status === 401) document.querySelector("#token-label").hidden = false;
  throw new Error((await response.json()).error);
}

// Server-sent events over fetch: EventSource can only GET.
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").filter((line) => !line.startsWith(":"))
          .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
      );
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

async function ask(conversation, signal) {
  const name = document.querySelector("#name").value.trim();
  const body = {
    deck,
    character: conversation.character,
    conversation: conversation.id,
    messages: conversation.messages.slice(-40),
    name: name || undefined,
    stream: true,
    why,
  };
  return (await post("/api/chat", body, signal)).body;
}

async function answer(conversation, signal) {
  const speaker = who.querySelector("input:checked").parentElement.textContent.trim();
  const shown = bubble("assistant", speaker);
  // What she says while a model is waited for: the next event takes its place.
  const filler = (text) => {
    shown.text.textContent = text;
    shown.text.classList.toggle("filler", Boolean(text));
  };
  try {
    for await (const { name, data } of eventsOf(await ask(conversation, signal))) {
      if (name === "start") {
        conversation.id = data.conversation;
        conversation.help = data.help;
        showHelp(data.help);
      }
      if (shown.text.classList.contains("filler")) filler("");
      if (name === "filler") filler(data.text);
      if (name === "delta") shown.text.append(data.text);
      if (name === "discard") shown.text.textContent = "";
      if (name === "error") throw new Error(data.error);
      if (name === "done") {
        shown.text.textContent = data.text;
        label(shown.item, data);
        conversation.messages.push({ role: "assistant", content: data.text });
      }
      shown.item.scrollIntoView({ block: "end" });
    }
  } finally {
    if (shown.text.classList.contains("filler")) filler("");
    if (!shown.text.textContent) shown.item.remove();
  }
}

say.addEventListener("submit", async (event) => {
  event.preventDefault();
  const content = message.value.trim();
  if (!content || running) return;
  const conversation = current();
  conversation.messages.push({ role: "user", content });
  bubble("user", document.querySelector("#name").value.trim()).text.textContent = content;
  message.value = "";
  state.textContent = "";
  running = new AbortController();
  stop.disabled = false;
  try {
    await answer(conversation, running.signal);
  } catch (error) {
    if (error.name !== "AbortError") state.textContent = error.message;
  } finally {
    running = null;
    stop.disabled = true;
    message.focus();
  }
});

message.addEventListener("keydown", (event) => {
  // While an input method is composing, Enter is its own.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say.requestSubmit();
  }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
stop.addEventListener("click", () => running?.abort());
who.addEventListener("submit", (event) => event.preventDefault());
who.addEventListener("change", (event) => {
  if (event.target.name !== "character") return;
  const conversation = current();
  const speaker = event.target.parentElement.textContent.trim();
  talk.replaceChildren();
  showHelp(conversation.help);
  for (const { role, content } of conversation.messages) {
    bubble(role, role === "user" ? "" : speaker).text.textContent = content;
  }
});
document.querySelector("#reset").addEventListener("click", async () => {
  const conversation = current();
  try {
    await post("/api/chat/reset", { deck, conversation: conversation.id });
    conversation.help = undefined;
    showHelp(undefined);
    state.textContent = "";
  } catch (error) {
    state.textContent = error.message;
  }
});

const goHome = () => location.replace(home);
document.querySelector("#home")?.addEventListener("click", goHome);
if (kiosk) {
  shut();
  // Who reads a number to call is given five times as long.
  watchIdle(() => Number(idle) * (help.hidden ? 1 : 5), {
    busy: () => !running && Boolean(home || talk.children.length || message.value || who.elements.name.value),
    warn: (left) => { document.querySelector("#leaving").textContent = left ? leaving.replace("{seconds}", left) : ""; },
    leave: () => (home ? goHome() : location.reload()),
  });
}
document.body.dataset.ready = "yes";
