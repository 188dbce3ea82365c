// Keeps the whole event on the device. An edition is fetched beside the one that is kept, every file
// is checked by its name, and only then does it take the other's place: what is kept is whole.

const SCOPE = self.registration.scope;
const FILES = `tsukurioki files ${SCOPE}`;
const TOP = `tsukurioki top ${SCOPE}`;
const TOP_PATHS = ["", "wall.html", "boot.js", "app.webmanifest", "icon-192.png", "icon-512.png"];
const EDITION = "edition.json";
const AT_ONCE = 6;
let keeping = null;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", (event) => {
  keeping ??= keep().catch((error) => tell({ fault: String(error) })).finally(() => { keeping = null; });
  event.waitUntil(keeping);
});
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(SCOPE)) event.respondWith(answered(event.request));
});

/** What is kept, else what the network has. */
async function answered(request) {
  const path = request.url.slice(SCOPE.length).replace(/[?#].*$/, "").replace(/^index\.html$/, "");
  const cache = await caches.open(path.startsWith("files/") ? FILES : TOP);
  return (await cache.match(SCOPE + path)) ?? fetch(request);
}

async function tell(state) {
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) client.postMessage(state);
}

async function keep() {
  const [files, top] = [await caches.open(FILES), await caches.open(TOP)];
  const fresh = await fetched(EDITION, "no-cache").catch(() => null) ?? await top.match(SCOPE + EDITION);
  if (!fresh) throw new Error("offline");
  const edition = await fresh.clone().json();
  const wanted = new Map(edition.keep.map(([path, , digest]) => [path, digest]));
  const bytes = edition.keep.reduce((sum, [, size]) => sum + size, edition.stored.bytes);
  const here = new Set((await files.keys()).map(({ url }) => url.slice(SCOPE.length)));
  const counted = () => ({ kept: [...wanted.keys()].filter((path) => here.has(path)).length, of: edition.keep.length + edition.stored.lists.length + edition.stored.bundles, bytes });
  const fetchAll = async () => {
    const missing = [...wanted].filter(([path]) => !here.has(path));
    const fetchSome = async () => {
      for (let next = missing.pop(); next; next = missing.pop()) {
        await files.put(SCOPE + next[0], await checked(...next));
        here.add(next[0]);
        if (here.size % 16 === 0) await tell(counted());
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, fetchSome));
    const fault = ended.find(({ status }) => status === "rejected");
    if (fault) throw fault.reason;
  };
  const names = (digests) => digests.forEach((digest) => digest && wanted.set(`files/${digest}.json`, digest));
  names(edition.stored.lists);
  await fetchAll();
  for (const digest of edition.stored.lists) names(await (await files.match(`${SCOPE}files/${digest}.json`)).json());
  await fetchAll();
  const old = await top.match(SCOPE + EDITION);
  if (!old || (await old.text()) !== (await fresh.clone().text())) {
    const responses = await Promise.all(TOP_PATHS.map((path) => fetched(path, "no-cache")));
    await Promise.all(responses.map((response, i) => top.put(SCOPE + TOP_PATHS[i], response)));
    await top.put(SCOPE + EDITION, fresh);
    for (const path of here) if (!wanted.has(path)) await files.delete(SCOPE + path);
  }
  tell({ ...counted(), whole: true });
}

/** A response of its own: one that was redirected could not be given to a navigation later. */
async function fetched(path, cache = "default") {
  const response = await fetch(SCOPE + path, { cache });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Response(await response.arrayBuffer(), { headers: { "Content-Type": response.headers.get("Content-Type") ?? "" } });
}

/**
 * A file whose contents are those that its name promises: a portal's page in its place is not kept,
 * and not taken from the browser's cache a second time.
 */
async function checked(path, digest) {
  for (const cache of ["default", "reload"]) {
    const response = await fetched(path, cache);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.clone().arrayBuffer()));
    const name = Array.from(hash.slice(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (name === digest) return response;
  }
  throw new Error(`${path}: is not what it should be`);
}
