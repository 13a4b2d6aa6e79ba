// The list of experiments: what is picked and done with it, rows that change in their places, what is new, and more of it.

const MOST_COMPARED = 12, MOST_ROWS = 500, AT_ONCE = 100, AGES = 60_000, COUNTS = 5_000;

export function listing() {
  const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#list"));
  const place = /** @type {HTMLElement | null} */ (form?.querySelector("#now"));
  if (!form || !place) return;
  picking(form);
  sendingMany(form, place);
  moving(form, place);
  place.addEventListener("click", (event) => {
    const link = /** @type {HTMLAnchorElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".more a"));
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || rowsOf(form).length + AT_ONCE > MOST_ROWS) return;
    event.preventDefault();
    more(form, link);
  });
}

const rowsOf = (/** @type {ParentNode} */ within) => [.../** @type {NodeListOf<HTMLTableRowElement>} */ (within.querySelectorAll("#rows tbody tr"))];
const pickedIn = (/** @type {HTMLElement} */ form) => [.../** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input[name=pick]:checked"))].map((box) => box.value);

/** A page as it would be shown, of which parts are taken. @param {string} address @param {RequestInit} [more] */
async function pageOf(address, more = {}) {
  const answer = await fetch(address, { headers: { "HX-Request": "true" }, ...more });
  return { ok: answer.ok, page: new DOMParser().parseFromString(await answer.text(), "text/html") };
}

/** What a page says is said on this one; one that says nothing asks for a key. @param {Document} page */
function say(page) {
  const said = page.querySelector("#said");
  if (!said) return location.reload();
  const place = document.importNode(said, true);
  document.querySelector("#said")?.replaceWith(place);
  const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Close" });
  close.addEventListener("click", () => { place.replaceChildren(); place.className = ""; });
  (place.querySelector(".said") ?? place).append(close);
}

/** @param {HTMLFormElement} form */
function picking(form) {
  const bar = form.querySelector(".bar"), count = bar?.querySelector(".count");
  const compare = /** @type {HTMLButtonElement | null} */ (bar?.querySelector("[data-compare]"));
  const show = () => {
    const { length } = pickedIn(form);
    if (count) count.textContent = `${length} selected`;
    if (compare) compare.disabled = length < 2 || length > MOST_COMPARED;
    for (const row of rowsOf(form)) row.setAttribute("aria-selected", String(Boolean(row.querySelector("input:checked"))));
  };
  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("lab:rows", show);
  addEventListener("pageshow", show);  // a browser that comes back has ticked them again
}

/** A verb is asked once, and what has become of each is said here. @param {HTMLFormElement} form @param {HTMLElement} place */
function sendingMany(form, place) {
  form.addEventListener("submit", async (event) => {
    const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
    const ids = pickedIn(form);
    event.preventDefault();
    if (!button || button.hasAttribute("data-compare")) return location.assign(`/ui/compare?e=${ids.join(",")}`);
    if (form.ariaBusy || (button.dataset.confirm && !confirm(button.dataset.confirm))) return;
    const body = new URLSearchParams(ids.map((id) => ["pick", id]));
    body.set("verb", button.value);
    body.set("label", /** @type {HTMLInputElement} */ (form.querySelector("#f-label")).value);
    if (button.dataset.confirm) body.set("sure", "yes");
    form.ariaBusy = "true";
    try {
      const { page } = await pageOf(form.action, { method: "POST", body });
      say(page);
      for (const one of page.querySelectorAll("[data-gone]")) document.getElementById(one.getAttribute("data-id") ?? "")?.remove();
      await renew(form, ids);
      if (!rowsOf(form).length) await refill(form, place);
      await recount();
    } catch { /* the service is away, which the light says */ } finally { form.ariaBusy = null; }
    form.dispatchEvent(new Event("lab:rows"));
  });
}

/** These rows as they are now, each in its place. @param {HTMLFormElement} form @param {string[]} ids */
async function renew(form, ids) {
  for (let begin = 0; begin < ids.length; begin += AT_ONCE) {
    const part = ids.slice(begin, begin + AT_ONCE);
    const { ok, page } = await pageOf(`/ui/experiments?ids=${part.join(",")}&archived=any&limit=${AT_ONCE}`);
    if (!ok || !page.querySelector("#list")) return;  // refused, or asked for a key
    for (const id of part) {
      const old = /** @type {HTMLTableRowElement | null} */ (document.getElementById(id));
      const now = /** @type {HTMLTableRowElement | null} */ (page.getElementById(id));
      if (old && now) replace(old, now); else if (old) gone(old);
    }
  }
  form.dispatchEvent(new Event("lab:rows"));
}

/** A list whose rows have all gone is read anew from its beginning: it may have others, or says that it has none.
 * @param {HTMLFormElement} form @param {HTMLElement} place */
async function refill(form, place) {
  const address = `/ui/experiments?${fromTheBeginning()}`;
  const { ok, page } = await pageOf(address);
  const now = /** @type {HTMLElement | null} */ (page.querySelector("#now"));
  if (!ok || !now) return;
  place.replaceChildren(...now.childNodes);
  place.dataset.since = now.dataset.since;
  place.toggleAttribute("data-newest", now.hasAttribute("data-newest"));
  if (!page.querySelector(".bar")) form.querySelector(".bar")?.remove();
  history.replaceState(null, "", address);
}

function fromTheBeginning() {
  const here = new URLSearchParams(location.search);
  for (const name of ["cursor", "limit"]) here.delete(name);
  return here;
}

/** How many there are now of each status and data set, by a whole page of one row: parts of a page are not counted. */
async function recount() {
  const asked = fromTheBeginning();
  asked.set("limit", "1");
  const { ok, page } = await pageOf(`/ui/experiments?${asked}`, { headers: {} });
  if (!ok || !page.querySelector("#list")) return;
  const old = document.querySelector(".chips"), now = page.querySelector(".chips");
  const focused = document.activeElement?.closest(".chips a")?.getAttribute("href");
  if (old && now) old.replaceWith(now); else if (now) document.querySelector("#fresh")?.before(now); else old?.remove();
  if (focused) /** @type {HTMLElement | null} */ (document.querySelector(`.chips a[href="${CSS.escape(focused)}"]`))?.focus();
  const chosen = /** @type {HTMLSelectElement | null} */ (document.querySelector("#dataset"));
  for (const option of chosen?.options ?? []) {
    const same = [...(/** @type {HTMLSelectElement | null} */ (page.querySelector("#dataset"))?.options ?? [])].find((one) => one.value === option.value);
    if (same) option.text = same.text;
  }
}

/** Cells that differ; what is ticked and what has the focus stays so. @param {HTMLTableRowElement} old @param {HTMLTableRowElement} now */
function replace(old, now) {
  old.toggleAttribute("data-open", now.hasAttribute("data-open"));
  const there = [...old.cells];
  [...now.cells].forEach((cell, place) => {
    if (!place || there[place].isEqualNode(cell)) return;
    const hadFocus = there[place].contains(document.activeElement);
    there[place].replaceWith(cell);
    if (hadFocus) /** @type {HTMLElement | null} */ (cell.querySelector("a"))?.focus({ preventScroll: true });
  });
}

/** What is deleted keeps its place, so that nothing moves under the mouse. @param {HTMLTableRowElement} row */
function gone(row) {
  row.classList.add("gone");
  row.removeAttribute("data-open");
  const box = /** @type {HTMLInputElement} */ (row.querySelector("input"));
  box.checked = false;
  box.disabled = true;
}

/** @param {HTMLFormElement} form @param {HTMLElement} place */
function moving(form, place) {
  const fresh = /** @type {HTMLElement} */ (document.querySelector("#fresh"));
  const filters = () => new URLSearchParams(place.dataset.filters);
  const isNew = () => { const asked = filters(); asked.set("created_after", place.dataset.since ?? ""); return asked; };
  let all = Date.now();

  const look = async () => {
    const answer = await fetch(`/experiments/counts?${isNew()}`);
    const { total } = answer.ok ? await answer.json() : { total: 0 };
    if (!total) return fresh.replaceChildren();
    const text = `${total} new`;
    if (fresh.textContent === text) return;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "main", textContent: text });
    button.addEventListener("click", () => show(total));
    fresh.replaceChildren(button);
  };

  const show = async (/** @type {number} */ total) => {
    const body = form.querySelector("#rows tbody");
    if (!body || !place.hasAttribute("data-newest") || total > AT_ONCE) {
      return location.assign(`/ui/experiments?${fromTheBeginning()}`);
    }
    const asked = isNew();
    asked.set("limit", String(AT_ONCE));
    const { ok, page } = await pageOf(`/ui/experiments?${asked}`);
    if (!ok) return say(page);
    const rows = rowsOf(page).filter((row) => !document.getElementById(row.id));
    place.dataset.since = /** @type {HTMLElement | null} */ (page.querySelector("#now"))?.dataset.since ?? place.dataset.since;
    fresh.replaceChildren();
    body.prepend(...rows);
    remember(form);
    /** @type {HTMLElement | null} */ (rows[0]?.querySelector("a.name"))?.focus();
  };

  // a count changes where something comes, goes, or stands otherwise than before; an epoch changes none
  /** @type {Map<string, string | undefined>} */
  const stood = new Map(rowsOf(form).map((row) => [row.id, row.querySelector(".status")?.textContent ?? undefined]));
  let counted = 0, isAgain = false;
  const count = async (/** @type {Map<string, string | undefined>} */ stands) => {
    const isOther = [...stands].some(([id, status]) => !stood.has(id) || stood.get(id) !== status);
    for (const [id, status] of stands) stood.set(id, status);
    if (!isOther) return;
    clearTimeout(counted);
    counted = setTimeout(() => recount().catch(() => {}), Math.random() * COUNTS / 2);
  };

  document.addEventListener("lab:changed", async (event) => {
    const { event: kind, ids = new Set(), stands = new Map() } = /** @type {CustomEvent} */ (event).detail;
    count(kind === "connected" && isAgain ? new Map([["", String(Date.now())]]) : stands);
    isAgain ||= kind === "connected";
    const shown = rowsOf(form).filter((row) => !row.classList.contains("gone"));
    const isTime = Date.now() - all > AGES;
    if (isTime) all = Date.now();
    const old = shown.filter((row) => isTime || ids.has(row.id) || (kind === "connected" && row.hasAttribute("data-open")));
    try {
      if (old.length) await renew(form, old.map((row) => row.id));
      if (kind === "connected" || [...ids].some((id) => !document.getElementById(id))) await look();
    } catch { /* the service is away, which the light says */ }
  });
}

/** @param {HTMLFormElement} form @param {HTMLAnchorElement} link */
async function more(form, link) {
  link.setAttribute("aria-busy", "true");
  const { ok, page } = await pageOf(link.href).catch(() => ({ ok: false, page: null }));
  if (!page) return location.assign(link.href);
  if (!ok) return say(page);
  const rows = rowsOf(page).filter((row) => !document.getElementById(row.id));
  form.querySelector("#rows tbody")?.append(...rows);
  const next = page.querySelector(".more");
  if (next) link.closest(".more")?.replaceWith(next); else link.closest(".more")?.remove();
  remember(form);
  /** @type {HTMLElement | null} */ (rows[0]?.querySelector("a.name"))?.focus({ preventScroll: true });
}

/** Whoever comes back finds as many rows, and the browser the place among them. @param {HTMLFormElement} form */
function remember(form) {
  const here = new URLSearchParams(location.search);
  here.set("limit", String(Math.min(rowsOf(form).length, MOST_ROWS)));
  history.replaceState(null, "", `?${here}${location.hash}`);
  form.dispatchEvent(new Event("lab:rows"));
}
