// Puts the page that edition.json names in place of this one. Everything else that the page asks for
// has a name that follows from its contents, so that a page is of one edition from beginning to end.

const RETRY = 3000;

async function text(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.text();
}

async function boot() {
  const said = await text("edition.json", { cache: "no-cache" });
  const edition = JSON.parse(said);
  const page = new DOMParser().parseFromString(await text(edition.pages[document.body.dataset.page]), "text/html");
  const script = page.querySelector("script[type=module]");
  const json = Object.assign(page.createElement("script"), { type: "application/json", id: "edition", textContent: said });
  // The icon stays this page's: without one, even for a moment, browsers ask for /favicon.ico.
  const parts = page.head.querySelectorAll("link:not([rel=icon]), script:not([type=module])");
  for (const { name, value } of page.documentElement.attributes) document.documentElement.setAttribute(name, value);
  document.title = page.title;
  document.head.append(...parts, json);
  document.body.replaceWith(page.body);
  // A module of a whole page waits for its styles, by which texts are measured.
  await Promise.all(Array.from(document.querySelectorAll("link[rel=stylesheet]"), (link) => link.sheet ?? new Promise((loaded) => {
    link.onload = loaded;
    link.onerror = loaded;
  })));
  const module = (path) => import(new URL(path, document.baseURI));
  await module(script.getAttribute("src"));
  await module(`${edition.program}/edition/kept.js`);
}

boot().catch((error) => {
  console.warn(error);
  setTimeout(() => location.reload(), RETRY);
});
