// Asking the server. A server that is away is waited for; a refusal is passed on with its sentence.

const PATIENCE = { first: 500, most: 3000, answer: 20_000 };

/** A request that the server has understood and refused (a problem document). */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** The server is not there, or not itself. */
export class Away extends Error {}

const TOKEN = "tsukurioki-token";
export const rememberToken = (token) => sessionStorage.setItem(TOKEN, token);
export const rememberedToken = () => sessionStorage.getItem(TOKEN) ?? "";

/** One try. @param {string} path @param {{method?: string, body?: unknown}} options */
export async function ask(path, { method = "GET", body } = {}) {
  const headers = { "Accept-Language": document.documentElement.lang };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (rememberedToken()) headers.Authorization = `Bearer ${rememberedToken()}`;
  let response;
  let text;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", signal: AbortSignal.timeout(PATIENCE.answer),
    });
    text = await response.text();
  } catch (error) {
    throw new Away(String(error));
  }
  if (response.status >= 500 || response.status === 429) throw new Away(String(response.status));
  const value = text ? parse(text) : null;
  if (!response.ok) throw new Refused(response.status, value?.error ?? "");
  // What an answer is voted on with comes beside it: a stored body is sent as it is.
  const ballot = response.headers.get("X-Tsukurioki-Ballot");
  return ballot ? { ...value, ballot } : value;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Away(`not JSON: ${error}`);
  }
}

const pause = (time) => new Promise((resume) => { setTimeout(resume, time); });

/**
 * Makes `insist`, which asks until there is an answer.
 * @param {typeof ask} asking
 * @returns {(path: string, options: any) => Promise<any>} with the options of `ask`, and of its own:
 *   onAway: hears whether the server is away; wanted: whether anybody still waits
 */
export const insisting = (asking) => async (path, { onAway, wanted, ...options }) => {
  for (let wait = PATIENCE.first; ; wait = Math.min(PATIENCE.most, wait * 1.5)) {
    try {
      const value = await asking(path, options);
      onAway(false);
      return value;
    } catch (error) {
      if (!(error instanceof Away)) {
        onAway(false);
        throw error;
      }
      if (!wanted()) return null;
      onAway(true);
      await pause(wait);
      if (!wanted()) return null;
    }
  }
};

export const insist = insisting(ask);
