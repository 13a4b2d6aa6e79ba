// A run's log: its last lines and what is written, what is looked for in it, and all of it when it is asked for.

const MOST_LINES = 200_000, AT_END = 30;

export function logs() {
  const place = /** @type {HTMLElement | null} */ (document.querySelector("[data-log]"));
  const tools = /** @type {HTMLElement | null} */ (document.querySelector("#log .filters"));
  if (!place || !tools) return;
  const sought = /** @type {HTMLInputElement} */ (tools.querySelector("input"));
  const found = /** @type {HTMLElement} */ (tools.querySelector("[role=status]"));
  const whole = /** @type {HTMLButtonElement} */ (tools.querySelector("button"));
  const whereAll = place.dataset.whole ?? "";
  /** @type {string[]} */ let lines = [];
  let said = "Nothing yet.", shown = 0;
  tools.hidden = false;

  const plain = (/** @type {string} */ text) => text.toLowerCase().replace(/\s+/g, " ");  // columns are filled with spaces
  const fits = (/** @type {string} */ line) => plain(line).includes(plain(sought.value));
  const count = () => { found.textContent = sought.value ? `${shown} of ${lines.length} line${lines.length === 1 ? "" : "s"}` : ""; };

  /** Everything anew. */
  const draw = () => {
    const some = sought.value ? lines.filter(fits) : lines;
    shown = some.length;
    place.textContent = some.length ? `${some.join("\n")}\n` : lines.length ? "No line that is here has it." : said;
    place.scrollTop = place.scrollHeight;
    count();
  };

  /** Who reads at the end stays there. @param {string[]} more */
  const add = (more) => {
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < AT_END, wasEmpty = !shown;
    lines.push(...more);
    if (lines.length > MOST_LINES) { lines = lines.slice(-MOST_LINES / 2); return draw(); }
    const some = sought.value ? more.filter(fits) : more;
    if (!some.length) return count();
    if (wasEmpty) place.textContent = "";
    shown += some.length;
    place.append(`${some.join("\n")}\n`);
    if (atEnd) place.scrollTop = place.scrollHeight;
    count();
  };

  /** In its place. @param {string[]} now @param {string} [text] what is said where there is none */
  const put = (now, text = "Nothing yet.") => { [lines, said] = [now, text]; draw(); };

  const read = async (/** @type {string} */ address) => {
    const answer = await fetch(address);
    if (!answer.ok) return put([], (await answer.json()).detail);
    const text = await answer.text();
    put(text ? text.replace(/\n$/, "").split("\n") : []);
  };

  const isFollowed = () => document.querySelector("[data-watch][data-live=yes]") !== null;
  // an attempt's log replaces the last one's
  document.addEventListener("lab:log", (event) => {
    const { lines: more, missing } = /** @type {CustomEvent} */ (event).detail;
    if (more) add(more); else put([], missing ?? undefined);
  });
  sought.addEventListener("input", draw);
  whole.addEventListener("click", async () => {
    whole.disabled = true;
    // what is followed is followed from its first line on, so that none is missing and none comes twice
    if (isFollowed()) document.dispatchEvent(new CustomEvent("lab:follow", { detail: `${whereAll}/events?after=0:0` }));
    else await read(whereAll).catch(() => { whole.disabled = false; });
    sought.focus();
  });
  if (isFollowed()) draw(); else read(place.dataset.log ?? "").catch(() => {});
}
