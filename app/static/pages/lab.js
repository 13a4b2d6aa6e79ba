// What every page does once it is there: theme, pictures of the theme, the stream, and what can be copied.
import { follow } from "./live.js";
import { drawCharts } from "./charts.js";
import { listing } from "./list.js";
import { logs } from "./log.js";
import { hanging } from "./wall.js";
import "./keys.js";

const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

export function cycleTheme() {
  const next = { "": isDark() ? "light" : "dark", dark: "light", light: "" }[root.dataset.theme ?? ""] ?? "";
  if (next) root.dataset.theme = next; else delete root.dataset.theme;
  try { if (next) localStorage.setItem("lab-theme", next); else localStorage.removeItem("lab-theme"); } catch { /* not kept */ }
  themed();
}

function themed() {
  const button = /** @type {HTMLElement} */ (document.querySelector("#theme"));
  button.textContent = `Theme: ${root.dataset.theme ?? "system"}`;
  pictures();
  document.dispatchEvent(new CustomEvent("lab:theme"));
}

/** The server draws in the theme that was chosen here; without a choice its picture element follows the system. */
function pictures() {
  for (const image of /** @type {NodeListOf<HTMLImageElement>} */ (document.querySelectorAll("img[data-picture]"))) {
    const address = `${image.dataset.picture}?theme=${isDark() ? "dark" : "light"}${image.dataset.more ?? ""}`;
    if (root.dataset.theme) image.parentElement?.querySelector("source")?.remove();
    if (!image.src.endsWith(address)) image.src = address;
  }
}

/** Begun where something may change, and again where a button has made that so. */
let isWatching = false, watched = "";
function watching() {
  const place = /** @type {HTMLElement | null} */ (document.querySelector("[data-watch]"));
  if (place && isWatching && place.dataset.watch !== watched) {  // one of what is compared is gone
    watched = place.dataset.watch ?? "";
    document.dispatchEvent(new CustomEvent("lab:follow", { detail: watched }));
  }
  const light = /** @type {HTMLElement} */ (document.querySelector("#live"));
  if (!place || place.dataset.live !== "yes" || isWatching) return;
  isWatching = true;
  watched = place.dataset.watch ?? "";
  light.hidden = false;
  const tell = (/** @type {object} */ detail) => document.dispatchEvent(new CustomEvent("lab:changed", { detail }));
  // what shows many things looks every so often, and forty who look at them not all at once
  const every = Number(place.dataset.every ?? 0);
  let last = 0, waits = false;
  /** @type {Set<string>} */ let ids = new Set();  // of the experiments that have changed meanwhile
  /** @type {Map<string, string | undefined>} */ let stands = new Map();  // and how they stand, undefined when deleted
  const sometimes = (/** @type {string} */ event, /** @type {any} */ data) => {
    if (event === "run") ids.add(data.experiment_id); else if (data?.id) ids.add(data.id);
    if (event === "experiment" || event === "deleted") stands.set(data.id, data.status);
    if (waits) return;
    waits = true;
    const rest = Math.max(0, last + every - Date.now());
    setTimeout(() => { waits = false; last = Date.now(); tell({ event: "several", ids, stands }); ids = new Set(); stands = new Map(); }, rest + Math.random() * every / 4);
  };
  let isGone = false;
  const says = (/** @type {string} */ told) => {
    const state = isGone ? "gone" : told;
    light.dataset.state = state;
    isWatching = state !== "off" && state !== "gone";
    light.textContent = { on: "live", lost: "reconnecting…", off: "up to date", out: "log in again", gone: "deleted" }[state] ?? state;
  };
  // what has ended and was deleted at once: its stream is over, and it is the page itself that is not found
  document.addEventListener("htmx:response:error", (event) => {
    const { response, target } = /** @type {CustomEvent} */ (event).detail.ctx;
    if (response.status !== 404 || target?.id !== "now") return;
    isGone = true;
    says("gone");
  });
  const anew = follow(
    place.dataset.watch ?? "",
    (event, data) => {
      if (event === "lines" || event === "attempt") document.dispatchEvent(new CustomEvent("lab:log", { detail: data }));
      else if (every) sometimes(event, data); else tell({ event, data });
    },
    (state) => {
      says(state);
      if (state === "on") tell({ event: "connected" });
    },
  );
  document.addEventListener("lab:follow", (event) => anew(/** @type {CustomEvent} */ (event).detail));
}

function predicting() {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-predict]"))) {
    const input = /** @type {HTMLInputElement} */ (place.querySelector("input"));
    const answers = /** @type {HTMLElement} */ (place.nextElementSibling);
    const ask = async (/** @type {File | undefined} */ file) => {
      if (!file) return;
      answers.replaceChildren("Asking…");
      const address = place.dataset.predict ?? "", headers = { "Content-Type": file.type || "application/octet-stream" };
      let answer = await fetch(address, { method: "POST", body: file, headers });
      // maps of one place say nothing, which is known once they are looked at
      if (answer.status === 409) answer = await fetch(address.split("&")[0], { method: "POST", body: file, headers });
      const said = await answer.json();
      if (!answer.ok) return answers.replaceChildren(`${said.title}: ${said.detail}`);
      const shown = Object.assign(document.createElement("img"), { src: URL.createObjectURL(file), alt: "The image that was asked about", width: 96 });
      const map = said.explanation
        ? Object.assign(document.createElement("img"), { src: `data:image/png;base64,${said.explanation.picture}`, alt: `What ${said.predicted.name} rests on, by ${said.explanation.method}`, width: 96 })
        : document.createElement("span");
      answers.replaceChildren(shown, map, document.createElement("span"));
      for (const { name, probability } of said.probabilities) {
        const bar = Object.assign(document.createElement("progress"), { max: 1, value: probability });
        bar.setAttribute("aria-label", name);
        answers.append(Object.assign(document.createElement("span"), { textContent: name }), bar,
          Object.assign(document.createElement("span"), { textContent: `${(100 * probability).toFixed(1)} %` }));
      }
    };
    input.addEventListener("change", () => ask(input.files?.[0]));
    place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => { event.preventDefault(); place.classList.remove("over"); ask(event.dataTransfer?.files[0]); });
  }
}

function copying() {
  for (const block of document.querySelectorAll("pre[data-copy]:not([data-done])")) {
    block.setAttribute("data-done", "");
    block.setAttribute("tabindex", "0");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent ?? "");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.after(button);
  }
}

/** Errors of the plan are said at their fields too; what has no field of its own was written into "More fields". */
function marking() {
  for (const field of document.querySelectorAll("[aria-invalid]")) for (const name of ["aria-invalid", "aria-describedby"]) field.removeAttribute(name);
  for (const said of document.querySelectorAll(".at-field")) said.remove();
  for (const error of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#plan [data-field]"))) {
    const name = error.dataset.field ?? "";
    const fields = [name, name.split(".")[0], "more"].map((one) => document.getElementsByName(one)[0]).filter(Boolean);
    const [field] = fields;
    if (!field) continue;
    field.setAttribute("aria-invalid", "true");
    if (field.hasAttribute("aria-describedby")) continue;
    const said = Object.assign(document.createElement("p"), { id: `error-${field.id}`, className: "field-error at-field", textContent: (field.getAttribute("name") === name ? error.querySelector("span") : error)?.textContent ?? "" });
    said.textContent = said.textContent.charAt(0).toUpperCase() + said.textContent.slice(1);
    field.after(said);
    field.setAttribute("aria-describedby", said.id);
  }
}

/** A field is there where the network or optimizer that is chosen has it; one that is not there is not sent. */
function fitting() {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-with]"))) {
    const chosen = /** @type {HTMLSelectElement | undefined} */ (document.getElementsByName(place.dataset.chooser ?? "")[0]);
    if (!chosen) continue;
    const name = chosen.value || chosen.options[0].text;
    place.hidden = !place.dataset.with?.split(" ").includes(name);
    const field = /** @type {HTMLInputElement} */ (place.querySelector("input, select"));
    field.disabled = place.hidden;
  }
}

/** Asked before what takes long or cannot be undone; and sent once. */
function sending() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (event.defaultPrevented) return;
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return event.preventDefault();
    if (form.method !== "post" || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
}

function begun() {
  const button = /** @type {HTMLElement} */ (document.querySelector("#theme"));
  button.hidden = false;
  button.addEventListener("click", cycleTheme);
  system.addEventListener("change", themed);
  themed();
  // where the pages do not fit beside each other the one that is open is in sight
  document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  sending();
  listing();
  hanging();
  watching();
  predicting();
  logs();
  copying();
  fitting();
  // in the capture phase, before htmx asks for the plan
  document.addEventListener("change", fitting, true);
  drawCharts();
  document.addEventListener("htmx:after:swap", () => { copying(); marking(); pictures(); watching(); });
}

// the imports of this file run first, so all is defined
begun();
