// One stream a page: what changes here is told, and the page reads what it shows anew.
//
// EventSource gives up for ever after an answer such as 502, so this reads the stream itself. A stream that ends without
// the event `end` is lost, and is opened again from where it was.

const FIRST_WAIT = 500, LONGEST_WAIT = 30_000, SILENCE = 40_000, HIDDEN = 5_000;

/** Returns what follows another address from then on.
 * @param {string} address @param {(event: string, data: any) => void} tell @param {(state: string) => void} stands */
export function follow(address, tell, stands) {
  let last = "", wait = FIRST_WAIT, over = false, isOut = false, isGone = false;
  /** @type {AbortController | null} */ let open = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;

  const later = () => {
    if (over || document.hidden) return;
    clearTimeout(timer);
    timer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
    wait = Math.min(2 * wait, LONGEST_WAIT);
  };

  async function connect() {
    open?.abort();
    const mine = open = new AbortController();
    let silence = setTimeout(() => mine.abort(), SILENCE);
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const answer = await fetch(address, { headers, signal: mine.signal, cache: "no-store" });
      isOut = answer.status === 401 || answer.status === 403;
      isGone = answer.status === 404;
      if (isOut || isGone) over = true;
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      stands("on");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(silence);
        silence = setTimeout(() => mine.abort(), SILENCE);
        wait = FIRST_WAIT;
        text += value.replaceAll("\r\n", "\n");
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          take(text.slice(0, end));
          text = text.slice(end + 2);
        }
      }
    } catch { /* lost: opened again below */ }
    clearTimeout(silence);
    if (open !== mine) return;
    if (!over) { stands("lost"); later(); } else stands(isOut ? "out" : isGone ? "gone" : "off");
  }

  /** @param {string} block */
  function take(block) {
    let event = "message", data = "";
    for (const line of block.split("\n")) {
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (name === "event") event = value;
      else if (name === "data") data += value;
      else if (name === "id") last = value;
    }
    const said = data ? JSON.parse(data) : null;
    if (event === "end") [over, isOut] = [said?.reason !== "shutdown", said?.reason === "revoked"];
    if (event === "reset") last = "";
    if (event !== "ping") tell(event, said);
  }

  let hiding;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => { open?.abort(); open = null; }, HIDDEN);
    else if (!over && !open) connect();
  });
  addEventListener("online", () => { if (!over) connect(); });
  let isAway = false;  // in the browser's cache of pages, from which one may come back
  addEventListener("pagehide", () => { isAway = !over; over = true; open?.abort(); });
  addEventListener("pageshow", (event) => { if (event.persisted && isAway) { isAway = over = false; connect(); } });
  connect();
  return (/** @type {string} */ another) => { address = another; last = ""; connect(); };
}
