// One hand, played without a framework: deal, pick, ask, show.
const deck = document.body.dataset.deck;
const form = document.querySelector("#hand");
const flyer = document.querySelector("#flyer");

async function call(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

function element(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(text);
  return made;
}

function fieldset(card, index) {
  const set = element("fieldset", element("legend", `${card.category} ― ${card.condition_text}`));
  card.poems.forEach((phrase, i) => {
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: `card-${index}`, value: phrase.id, checked: i === 0,
    });
    const label = element("label", input);
    label.append(` ${phrase.poem_text}`);
    set.append(label);
  });
  return set;
}

async function deal() {
  const { cards } = await call(`/api/decks/${deck}/deal`);
  form.replaceChildren(...cards.map(fieldset), element("button", "詩にする", { type: "submit" }));
  form.onsubmit = (event) => {
    event.preventDefault();
    play(cards).catch((error) => { flyer.textContent = error.message; });
  };
}

async function play(cards) {
  const picked = new FormData(form);
  const selectedPairs = cards.map((card, i) => ({
    conditionCard: card,
    selectedPoem: card.poems.find((phrase) => phrase.id === picked.get(`card-${i}`)),
  }));
  const answer = await call("/api/generate-poem", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ selectedPairs }),
  });
  const again = element("button", "もう一度、配る", { type: "button", onclick: start });
  flyer.replaceChildren(
    element("h2", answer.title), element("div", answer.poem),
    element("p", `${answer.tier} ・ ${answer.source}`, { className: "tier" }), again,
  );
  await live();
}

async function live() {
  const { decks } = await call("/stats");
  const { store, answers, coverage } = decks[deck];
  document.querySelector("#live").textContent =
    `作り置き ${store.entries} 篇 ・ 手札 ${coverage.stocked_hands.count} 組 ・ これまでの回答 ${answers.total} 件`;
}

async function start() {
  flyer.replaceChildren();
  await deal();
  await live();
}

start().catch((error) => { flyer.textContent = error.message; });
