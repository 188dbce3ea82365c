// Every word of the interface, in both languages. The cards and the poems are the deck's own.

/** @typedef {"ja"|"en"} Language */

const JA = {
  other: "English",
  maker: "作り置き不動産",
  headline: ["五つの難点を、", "五つの美点へ。"],
  lead: "札を五枚めくり、言い換えをひとつずつ選ぶ。読み終えるころには、少しだけ住みたくなっている。",
  begin: "内覧をはじめる",
  beginHint: "札は五枚、およそ一分",
  smallPrint: "注） 画像は完成予想図であり、完成の予定はありません。広告文は前の晩に作り置きしたものです。この場では、どこにもつながっておりません。",
  dealt: "難点が、五つございます。",
  dealtLead: ["ご心配には及びません。", "すべて、言い方の問題です。"],
  rephrase: "言い換えをはじめる",
  turnAll: "すべてめくる",
  question: "これを、どう申し上げますか。",
  step: (at, of) => `${kanji(at)}枚目（全${kanji(of)}枚）`,
  flawOf: (category) => `難点・${category}`,
  earlier: "一枚もどる",
  beats: ["徒歩分数を、気持ちで割っております。", "日照を、行間に差し替えております。", "担当者が、遠い目をしております。", "間取り図を、やさしい角度から眺めております。", "難点を、余白へ移しております。"],
  skip: "触れると、先へ進みます",
  writing: "ただいま、筆を走らせております。",
  turn: "裏を見る",
  turnBack: "表にもどす",
  save: "画像で保存",
  print: "はがきに印刷",
  up: "住みたい",
  down: "見送りたい",
  thanks: "ご意見を、承りました。",
  again: "別の言い回し",
  next: "次の物件へ",
  saved: "画像を保存しました。",
  rewritten: "言い回しを改めました。",
  matters: "重要事項説明",
  mattersLead: "表面の広告文は、以下の事実に基づきます。",
  said: "広告では",
  fact: "実際は",
  backPrint: "注） 以上の説明を受けたことを、お忘れになってもかまいません。",
  frontPrint: "注） 徒歩分数は心の距離で算出。詳細は裏面。",
  tiers: {
    exact: "この五枚のために書き置いた一篇",
    same_hand: "同じ五枚のために書き置いた一篇",
    composed: "書き置きの文を組み合わせた一篇",
    template: "選ばれた言葉を並べた一篇",
    local: "いま、この機械が書いた一篇",
    cloud: "いま、クラウドが書いた一篇",
  },
  sources: { written: "この五枚のために、作り手が言語モデルと書いた一篇" },
  away: "担当者が席を外しております。もどり次第、続きからご案内いたします。",
  idle: (seconds) => `まもなく、はじめの画面へもどります（${seconds}秒）。触れると続けられます。`,
  sorry: "申し訳ございません。",
  restart: "はじめにもどる",
  flyer: "広告",
  poem: "広告文",
  actions: "この広告について",
  cards: "五枚の札",
  phrases: "言い換えの候補",
};

const EN = {
  other: "日本語",
  maker: "Tsukurioki Estates",
  headline: ["Five flaws,", "beautifully put."],
  lead: "Turn over five cards and choose a kinder phrase for each. By the end you may find that you want to live there.",
  begin: "Begin the viewing",
  beginHint: "Five cards, about a minute. The cards are in Japanese.",
  smallPrint: "Note: pictures show the completed building, which is not going to be completed. The copy was written last night and kept; nothing here is connected to anything.",
  dealt: "There are five small matters.",
  dealtLead: ["Please do not worry.", "It is all a question of wording."],
  rephrase: "Find kinder words",
  turnAll: "Turn all over",
  question: "How shall we put this?",
  step: (at, of) => `Card ${at} of ${of}`,
  flawOf: (category) => `Flaw: ${category}`,
  earlier: "Previous card",
  beats: ["Dividing the walk to the station by a feeling.", "Moving the sunlight in between the lines.", "Our agent is gazing into the distance.", "Looking at the floor plan from its better side.", "Relocating the flaws to the margin."],
  skip: "Tap to go on",
  writing: "Being written just now.",
  turn: "See the back",
  turnBack: "See the front",
  save: "Save picture",
  print: "Print postcard",
  up: "I would live here",
  down: "I will pass",
  thanks: "Thank you, noted.",
  again: "Another wording",
  next: "Next property",
  saved: "The picture is saved.",
  rewritten: "Here is another wording.",
  matters: "Important matters",
  mattersLead: "The copy overleaf is based on these five facts.",
  said: "We say",
  fact: "It is",
  backPrint: "Note: you are free to forget that this was explained to you.",
  frontPrint: "Note: walking times are distances of the heart.",
  tiers: {
    exact: "written ahead for just this play",
    same_hand: "written ahead for the same five cards",
    composed: "put together from sentences written ahead",
    template: "your phrases, set side by side",
    local: "written just now by this machine",
    cloud: "written just now in the cloud",
  },
  sources: { written: "written for these five cards by the makers, with a language model" },
  away: "Our agent has stepped out. We will go on from here as soon as they are back.",
  idle: (seconds) => `Going back to the start in ${seconds} seconds. Touch to stay.`,
  sorry: "We are sorry.",
  restart: "Back to the start",
  flyer: "Advertisement",
  poem: "Copy",
  actions: "About this advertisement",
  cards: "Five cards",
  phrases: "Phrases to choose from",
};

/** @type {Record<Language, typeof JA>} */
export const STRINGS = { ja: JA, en: EN };

/** A small number in kanji. @param {number} number */
export function kanji(number) {
  const digits = "〇一二三四五六七八九";
  if (number >= 20 || number < 0) return String(number);
  if (number < 10) return digits[number];
  return `十${number > 10 ? digits[number - 10] : ""}`;
}

/** The language to begin with: asked for, remembered, or (off the kiosk) the visitor's own. */
export function firstLanguage(address, kiosk) {
  const asked = new URLSearchParams(address.search).get("lang");
  const remembered = kiosk ? null : localStorage.getItem("tsukurioki-language");
  const known = [asked, remembered].find((language) => language && language in STRINGS);
  if (known) return known;
  return kiosk || navigator.language.startsWith("ja") ? "ja" : "en";
}
