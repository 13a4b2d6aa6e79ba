// The keyboard: off while one types, and switched off for good in the help (WCAG 2.1.4).
import { cycleTheme } from "./lab.js";

const HELP = [
  ["/", "search, filter or find in a log"], ["j k", "next, previous row"], ["x", "select the row"], ["Enter", "open the row"],
  ["c", "compare what is selected"], ["n", "new experiment"], ["g e", "experiments"], ["g s", "studies"],
  ["g q", "queue"], ["g r", "recipes"], ["g d", "documents"], ["l", "logarithmic axis"], ["b", "band"], ["[ ]", "smooth less, more"],
  ["0", "whole axis"], ["t", "theme"], ["y", "copy the address"], ["?", "this help"],
];
const PLACES = { e: "/ui/experiments", s: "/ui/studies", q: "/ui/queue", r: "/ui/recipes", d: "/ui/docs", n: "/ui/new" };

const off = () => { try { return localStorage.getItem("lab-keys") === "off"; } catch { return false; } };
let going = false;

/** @param {KeyboardEvent} event */
function pressed(event) {
  const at = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || at.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  if (event.key === "?") return help();
  if (off()) return;
  if (going) {
    going = false;
    if (PLACES[event.key]) location.assign(PLACES[event.key]);
    return;
  }
  const act = {
    g: () => { going = true; setTimeout(() => { going = false; }, 1200); },
    n: () => location.assign("/ui/new"),
    t: cycleTheme,
    y: () => navigator.clipboard?.writeText(location.href),
    "/": () => /** @type {HTMLElement | null} */ (document.querySelector(".filters input, .filters select"))?.focus(),
    j: () => step(1), k: () => step(-1),
    x: () => /** @type {HTMLInputElement | null} */ (row()?.querySelector("input[type=checkbox]"))?.click(),
    c: () => /** @type {HTMLElement | null} */ (document.querySelector("[data-compare]"))?.click(),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
  else document.dispatchEvent(new CustomEvent("lab:key", { detail: event.key }));
}

const rows = () => [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("main tbody tr:has(a.name)"))];
const row = () => rows().find((one) => one.contains(document.activeElement));

/** @param {number} by */
function step(by) {
  const all = rows(), now = all.findIndex((one) => one.contains(document.activeElement));
  const next = all[Math.max(0, Math.min(all.length - 1, now + by))];
  /** @type {HTMLElement | null} */ (next?.querySelector("a.name"))?.focus();
}

function help() {
  const dialog = document.createElement("dialog");
  const title = Object.assign(document.createElement("h2"), { textContent: "Keyboard" });
  const list = document.createElement("table");
  for (const [key, said] of HELP) {
    const line = list.insertRow();
    line.insertCell().append(Object.assign(document.createElement("kbd"), { textContent: key }));
    line.insertCell().textContent = said;
  }
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !off(), id: "keys-on" });
  const label = Object.assign(document.createElement("label"), { className: "check" });
  label.append(box, "Keys do something");
  box.addEventListener("change", () => localStorage.setItem("lab-keys", box.checked ? "on" : "off"));
  const close = Object.assign(document.createElement("button"), { textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, list, label, close);
  dialog.setAttribute("aria-label", "Keyboard");
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", pressed);
