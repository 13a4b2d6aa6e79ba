// A page on a wall goes on to the next of what runs, and Escape leaves.

const EVERY = 20_000, LATER = 5_000;

export function hanging() {
  const link = /** @type {HTMLAnchorElement | null} */ (document.querySelector("#leave"));
  if (!link) return;
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") location.assign(link.href); });
  // what moves by itself is not for everybody: there it stays as it is, and still shows what changes
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const on = async () => {
    try {
      const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = /** @type {HTMLElement | null} */ (page.querySelector("#leave"))?.dataset.next;
      // without an entry in the history, so that Back leads away; a page that is gone leads to where the round began
      const to = answer.ok ? next : new URLSearchParams(location.search).get("start");
      if (!still.matches && to && new URL(to, location.href).href !== location.href) return location.replace(to);
      if (answer.ok && document.querySelector("#fresh button")) return location.reload();  // nobody is there to press it
      setTimeout(on, EVERY);
    } catch { setTimeout(on, LATER); }  // the service is away: this page is better than none
  };
  setTimeout(on, EVERY);
}
