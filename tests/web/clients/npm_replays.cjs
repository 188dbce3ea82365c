// The answers of the npm clients to many questions, asked many times: run by test_no_upstream.py.
//   node npm_replays.cjs URL FOLDER_WITH_node_modules MODEL QUESTIONS TIMES
// Prints, for each client, whether every round got the answers of the first, and these.
const { createRequire } = require("node:module");
const [url, folder, model, questions, times] = process.argv.slice(2);
const load = createRequire(`${folder}/`);

function openai() {
  const { OpenAI } = load("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", maxRetries: 0 });
  return async (content) => {
    const told = await client.chat.completions.create({ model, messages: [{ role: "user", content }] });
    return told.choices[0].message.content;
  };
}

function ollama() {
  const { Ollama } = load("ollama");
  const client = new Ollama({ host: url });
  return async (content) => (await client.chat({ model, messages: [{ role: "user", content }] })).message.content;
}

function gemini() {
  const { GoogleGenAI } = load("@google/genai");
  const client = new GoogleGenAI({ apiKey: "x", httpOptions: { baseUrl: url } });
  return async (contents) => (await client.models.generateContent({ model, contents })).text;
}

async function round(ask) {
  const answers = [];
  for (let number = 0; number < Number(questions); number += 1) {
    answers.push(await ask(`question ${number}`));
  }
  return answers;
}

async function main() {
  const told = {};
  for (const [name, make] of Object.entries({ openai, ollama, gemini })) {
    const ask = make();
    const first = await round(ask);
    let same = true;
    for (let time = 1; time < Number(times); time += 1) {
      same = same && JSON.stringify(await round(ask)) === JSON.stringify(first);
    }
    told[name] = { same, first };
  }
  process.stdout.write(JSON.stringify(told));
}

main();
