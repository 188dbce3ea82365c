// What the npm clients of OpenAI, Ollama and Gemini get from a server: run by test_others.py.
//   node npm_clients.cjs URL FOLDER_WITH_node_modules
const { createRequire } = require("node:module");
const [url, folder] = process.argv.slice(2);
const load = createRequire(`${folder}/`);

const parameters = { type: "object", properties: { city: { type: "string" } } };
const weather = { name: "weather", description: "Tells the weather.", parameters };
const messages = [{ role: "user", content: "npm?" }];
const asked = [{ role: "user", content: "weather?" }];

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error.status ?? error.status_code ?? error.code;
  }
  return "no error";
}

async function lateness(chat, options) {
  const slow = [{ role: "user", content: "slow npm" }];
  return chat.create({ model: "gpt-x", messages: slow }, options).catch((error) => error.constructor.name);
}

async function openai() {
  const { OpenAI } = load("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", maxRetries: 0 });
  const chat = client.chat.completions;
  const whole = await chat.create({ model: "gpt-x", messages });
  let streamed = "";
  for await (const chunk of await chat.create({ model: "gpt-x", messages, stream: true })) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
  }
  const tools = [{ type: "function", function: weather }];
  const called = await chat.create({ model: "gpt-x", messages: asked, tools });
  const response = await client.responses.create({ model: "gpt-x", input: "npm?" });
  const vectors = await client.embeddings.create({ model: "embed-x", input: ["ab"] });
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  return {
    whole: whole.choices[0].message.content,
    streamed,
    later: response.output_text,
    tool: JSON.parse(called.choices[0].message.tool_calls[0].function.arguments),
    vector: vectors.data[0].embedding,
    listed: listed.includes("botan"),
    miss: await failure(chat.create({ model: "menu", messages })),
    late: await lateness(chat, { timeout: 300 }),
  };
}

async function ollama() {
  const { Ollama } = load("ollama");
  const client = new Ollama({ host: url });
  const whole = await client.chat({ model: "llama-x", messages });
  let streamed = "";
  for await (const part of await client.chat({ model: "llama-x", messages, stream: true })) {
    streamed += part.message.content;
  }
  const tools = [{ type: "function", function: weather }];
  const called = await client.chat({ model: "llama-x", messages: asked, tools });
  const generated = await client.generate({ model: "llama-x", prompt: "npm?" });
  const vectors = await client.embed({ model: "embed-o", input: ["ab"] });
  const listed = await client.list();
  return {
    whole: whole.message.content,
    streamed,
    later: generated.response,
    tool: called.message.tool_calls[0].function.arguments,
    vector: vectors.embeddings[0],
    listed: listed.models.some((model) => model.name === "botan:latest"),
    miss: await failure(client.chat({ model: "menu", messages })),
  };
}

async function gemini() {
  const { GoogleGenAI } = load("@google/genai");
  const client = new GoogleGenAI({ apiKey: "x", httpOptions: { baseUrl: url } });
  const question = { model: "gemini-x", contents: "npm?" };
  const whole = await client.models.generateContent(question);
  let streamed = "";
  for await (const part of await client.models.generateContentStream(question)) {
    streamed += part.text ?? "";
  }
  const config = { tools: [{ functionDeclarations: [{ ...weather, parameters: { type: "OBJECT", properties: { city: { type: "STRING" } } } }] }] };
  const called = await client.models.generateContent({ model: "gemini-x", contents: "weather?", config });
  const chat = client.chats.create({ model: "gemini-x" });
  const later = await chat.sendMessage({ message: "npm?" });
  const vectors = await client.models.embedContent({ model: "embed-g", contents: ["ab"] });
  const listed = [];
  for await (const model of await client.models.list()) listed.push(model.name);
  return {
    whole: whole.text,
    streamed,
    later: later.text,
    tool: called.functionCalls[0].args,
    vector: vectors.embeddings[0].values,
    listed: listed.includes("models/botan"),
    miss: await failure(client.models.generateContent({ model: "menu", contents: "npm?" })),
  };
}

(async () => {
  const told = { openai: await openai(), ollama: await ollama(), gemini: await gemini() };
  console.log(JSON.stringify(told));
})();
