// Curves of experiments: the mean over seeds with its band. Every number comes from the service and is drawn as it came.
import { DEFAULTS, WIDEST, cut, isFraction, readState, readZoom, shown, significant, smoothed, writeState } from "./numbers.js";
import { isDark } from "./lab.js";

/** @typedef {{mean: (number|null)[], low: (number|null)[], high: (number|null)[], min: (number|null)[], max: (number|null)[], n: number[]}} Curve */
/** @typedef {{id: string, title: string, epochs: number[], curves: Record<string, Curve>, seeds: Record<string, Record<string, (number|null)[]>>, passed: number}} Group */

const TITLES = { loss: "Loss", accuracy: "Accuracy", learning_rate: "Learning rate", seconds: "Seconds an epoch" };
const BANDS = { interval: "95 % interval of the mean", range: "range", seeds: "each seed", mean: "mean alone" };
const COLORS = 7, EVERY = 1500, FEW = 3, MOST_FOLLOWED = 20;

/** Values of the style sheet, which follow the theme: each is asked for once in a theme. */
/** @type {Record<string, string>} */ let styles = {};
const style = (/** @type {string} */ name) => (styles[name] ??= computed(name));
function computed(/** @type {string} */ name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
const faded = (/** @type {string} */ color, /** @type {number} */ part) => `color-mix(in srgb, ${color} ${100 * part}%, transparent)`;

/** What an experiment is called on this page, now; one that is gone as before. @param {string} id @param {string} [before] */
function titleOf(id, before) {
  const row = document.querySelector(`[data-row="${id}"] .name`), isOne = !document.querySelector("[data-row]");
  return (row ?? (isOne ? document.querySelector("#now h1") : null))?.textContent ?? before ?? id;
}

export function drawCharts() {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-chart]"))) new Chart(place).begin();
}

class Chart {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.ids = (place.dataset.chart ?? "").split(",").filter(Boolean);
    this.state = readState(location.search);
    /** @type {Group[]} */ this.groups = [];
    /** @type {any[]} */ this.plots = [];
    this.raised = -1;
    /** @type {Set<string>} */ this.gone = new Set();
  }

  async begin() {
    try { await this.load(); } catch { return; }  // the picture stays
    if (!this.groups.some((group) => group.epochs.length)) { this.again(); return; }
    this.place.replaceChildren();
    this.controls();
    this.panels = this.place.appendChild(Object.assign(document.createElement("div"), { className: "panels" }));
    const box = this.place.appendChild(Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 }));
    this.legend = box.appendChild(Object.assign(document.createElement("table"), { className: "legend stacked" }));
    const more = this.place.appendChild(document.createElement("details"));
    more.append(Object.assign(document.createElement("summary"), { textContent: "Show as table", className: "small" }));
    more.addEventListener("toggle", () => { if (more.open) this.table(more); });
    this.more = more;
    this.draw();
    this.again();
    document.addEventListener("lab:theme", () => { styles = {}; this.draw(); });
    document.addEventListener("htmx:after:swap", () => this.renamed());
    document.addEventListener("lab:key", (event) => this.key(/** @type {CustomEvent} */ (event).detail));
    let width = 0, timer;
    new ResizeObserver(() => {
      if (Math.abs(this.place.clientWidth - width) < 4) return;
      width = this.place.clientWidth;
      clearTimeout(timer);
      timer = setTimeout(() => this.draw(), 120);
    }).observe(this.place);
  }

  /** What changes is drawn, at most once in EVERY ms. */
  again() {
    if (this.listening) return;
    this.listening = true;
    let waits = false, more = false;
    // one look at a time, however long it takes
    const look = () => {
      if (waits) { more = true; return; }
      [waits, more] = [true, false];
      setTimeout(async () => {
        await this.load().catch(() => {});
        if (this.panels) this.draw(); else await this.begin();
        waits = false;
        if (more) look();
      }, EVERY);
    };
    document.addEventListener("lab:changed", (event) => {
      const { event: kind, data } = /** @type {CustomEvent} */ (event).detail;
      // whoever goes on from a checkpoint writes epochs again
      const group = kind === "run" ? this.groups.find((one) => one.id === data.experiment_id) : undefined;
      if (group && data.epochs_done < group.passed) group.passed = 0;
      look();
    });
  }

  /** Who has got another name while the page is open is called by it. */
  renamed() {
    if (this.groups.every((group) => group.title === titleOf(group.id, group.title))) return;
    for (const group of this.groups) group.title = titleOf(group.id, group.title);
    this.draw();
  }

  async load() {
    // of one that has been deleted meanwhile what was drawn stays
    this.groups = await Promise.all(this.ids.map(async (id, place) => {
      const before = this.groups[place];
      if (before && this.gone.has(id)) return before;
      try { return await load(id, before, this.state.b === "seeds"); } catch (error) {
        if (!before) throw error;
        if (/** @type {Error} */ (error).message === "404") this.gone.add(id);
        return before;
      }
    }));
  }

  controls() {
    const bar = this.place.appendChild(Object.assign(document.createElement("div"), { className: "controls" }));
    const add = (/** @type {string} */ text, /** @type {HTMLElement} */ control) => {
      const label = bar.appendChild(document.createElement("label"));
      label.append(text, control);
      return control;
    };
    const choose = (/** @type {string} */ name, /** @type {Record<string, string>} */ choices) => {
      const select = document.createElement("select");
      for (const [value, text] of Object.entries(choices)) select.append(new Option(text, value, false, this.state[name] === value));
      select.addEventListener("change", () => this.set(name, select.value));
      return select;
    };
    add("Show", choose("m", { "loss,accuracy": "loss and accuracy", loss: "loss", accuracy: "accuracy", learning_rate: "learning rate", seconds: "seconds an epoch" }));
    add("Band", choose("b", BANDS));
    add("Axis", choose("y", { lin: "linear", log: "logarithmic" }));
    const range = Object.assign(document.createElement("input"), { type: "range", min: "0", max: "0.95", step: "0.05", value: this.state.s });
    range.addEventListener("input", () => this.set("s", range.value));
    add("Smoothing", range);
    this.bar = bar;
  }

  /** @param {string} name @param {string} value */
  set(name, value) {
    this.state[name] = value;
    history.replaceState(null, "", writeState(location.search, this.state) + location.hash);
    for (const select of this.bar?.querySelectorAll("select, input") ?? []) {
      const at = /** @type {HTMLSelectElement} */ (select);
      if ([...(at.options ?? [])].some((option) => option.value === value) && name !== "s") at.value = value;
    }
    this.draw();
    // seeds that no line was drawn of have not been asked for
    if (name === "b" && value === "seeds" && this.groups.some((group) => !Object.keys(group.seeds).length)) this.load().then(() => this.draw(), () => {});
  }

  /** @param {string} key */
  key(key) {
    const bands = Object.keys(BANDS), weight = Number(this.state.s);
    if (key === "l") this.set("y", this.state.y === "log" ? "lin" : "log");
    else if (key === "b") this.set("b", bands[(bands.indexOf(this.state.b) + 1) % bands.length]);
    else if (key === "[") this.set("s", String(Math.max(0, Math.round(20 * weight - 1) / 20)));
    else if (key === "]") this.set("s", String(Math.min(0.95, Math.round(20 * weight + 1) / 20)));
    else if (key === "0") this.set("z", DEFAULTS.z);
  }

  /** Metrics that the address asks for and that are there. */
  names() {
    const there = this.state.m.split(",").filter((name) => this.groups.some((group) => group.curves[`val.${name}`] || group.curves[`train.${name}`]));
    return there.length ? there : DEFAULTS.m.split(",");
  }

  /** Columns of its tables: of each metric the splits that have it, and what the column is called. */
  columns() {
    return this.names().flatMap((name) => {
      const splits = ["val", "train"].filter((split) => this.groups.some((group) => group.curves[`${split}.${name}`]));
      const title = (TITLES[name] ?? name).toLowerCase();
      return splits.map((split) => ({ name, split, heading: splits.length > 1 ? `${split} ${title}` : title }));
    });
  }

  draw() {
    if (!this.panels) return;
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
    this.panels.replaceChildren();
    this.colors = Array.from({ length: COLORS }, (_, place) => style(`--s${place}`));
    // all have their places before the first is drawn, which asks how wide it is
    const panels = this.names().map((name) => {
      const panel = /** @type {HTMLElement} */ (this.panels).appendChild(Object.assign(document.createElement("div"), { className: "panel" }));
      return { name, panel };
    });
    for (const { name, panel } of panels) this.panel(name, panel);
    this.readings(null);
    if (this.more?.open) this.table(this.more);
  }

  /** @param {string} name of the metric @param {HTMLElement} panel */
  panel(name, panel) {
    const weight = Number(this.state.s), title = TITLES[name] ?? name;
    panel.append(Object.assign(document.createElement("h3"), { textContent: `${title}${isFraction(name) ? ", %" : ""}${weight ? `, smoothed ${weight}` : ""}` }));
    const box = panel.appendChild(Object.assign(document.createElement("div"), { className: "plot", role: "img" }));
    const epochs = [...new Set(this.groups.flatMap((group) => group.epochs))].sort((a, b) => a - b);
    const factor = isFraction(name) ? 100 : 1;
    /** @type {any[]} */ const series = [{}];
    /** @type {any[]} */ const data = [epochs], bands = [];
    const add = (/** @type {any} */ values, /** @type {any} */ options) => { data.push(values); series.push(options); return series.length - 1; };
    this.groups.forEach((group, place) => {
      const color = /** @type {string[]} */ (this.colors)[place % COLORS];
      const strong = this.raised < 0 || this.raised === place;
      const dash = place >= COLORS ? [10, 3, 2, 3] : undefined;
      const found = new Map(group.epochs.map((epoch, index) => [epoch, index]));
      const places = epochs.map((epoch) => found.get(epoch) ?? -1);
      const at = (/** @type {(number|null)[]} */ values) => places.map((place) => { const value = values[place]; return value === null || value === undefined ? null : factor * value; });
      for (const split of ["train", "val"]) {
        const curve = group.curves[`${split}.${name}`];
        if (!curve) continue;
        const isVal = split === "val" || !group.curves[`val.${name}`];
        const line = { stroke: faded(color, strong ? 1 : 0.25), width: isVal ? (strong && this.raised === place ? 3 : 2) : 1.2, points: { show: epochs.length === 1, size: 6 }, spanGaps: false };
        const many = Math.max(...curve.n, 0);
        const each = this.state.b === "seeds" || (this.state.b === "interval" && many < FEW);
        if (isVal && !weight && this.state.b !== "mean" && !each && many > 1) {
          const [low, high] = this.state.b === "range" ? [curve.min, curve.max] : [curve.low, curve.high];
          const top = add(at(cut(high, name)), { stroke: "transparent", width: 0, points: { show: false } });
          const bottom = add(at(cut(low, name)), { stroke: "transparent", width: 0, points: { show: false } });
          bands.push({ series: [top, bottom], fill: faded(color, strong ? 0.18 : 0.05) });
        }
        if (isVal && each && many > 1 && !weight) {
          for (const values of Object.values(group.seeds)) if (values[`${split}.${name}`]) add(at(values[`${split}.${name}`]), { ...line, stroke: faded(color, strong ? 0.4 : 0.12), width: 1 });
        }
        if (weight && isVal) add(at(curve.mean), { ...line, stroke: faded(color, 0.3), width: 1, dash });
        // solid while all seeds run; from where the first has ended on the mean is of the others, and dashed
        const ends = curve.n.findIndex((count) => count < many), drawn = smoothed(curve.mean, weight);
        const whole = ends < 0 ? drawn : drawn.map((value, index) => (index < ends ? value : null));
        add(at(whole), { ...line, dash: isVal ? dash : [5, 4] });
        if (ends >= 0) add(at(drawn.map((value, index) => (index >= ends - 1 ? value : null))), { ...line, dash: [2, 4] });
      }
    });
    box.setAttribute("aria-label", this.sentence(name));
    const grid = { stroke: style("--line"), width: 1 }, ink = style("--soft");
    const asked = readZoom(this.state.z), zoom = asked && asked[0] < (epochs.at(-1) ?? 0) && asked[1] > (epochs[0] ?? 0) ? asked : null;
    const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;  // twice on a wall
    const font = `${12 * scale}px ${getComputedStyle(document.body).fontFamily}`;
    const options = {
      width: Math.max(200, box.clientWidth), height: 296 * Math.min(scale, 1.4), cursor: { sync: { key: "lab" }, points: { size: 7 }, drag: { x: true, y: false } },
      legend: { show: false }, series, bands,
      scales: {
        x: { time: false, range: (/** @type {any} */ _, /** @type {number} */ min, /** @type {number} */ max) => zoom ?? (min === max ? [min - 1, max + 1] : [min, max]) },
        y: { distr: this.state.y === "log" ? 3 : 1 },
      },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: grid, font, label: "epoch", labelFont: font, labelSize: 18 * scale, size: 30 * scale, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
        { stroke: ink, grid, ticks: grid, font, size: 58 * scale, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => (tick === null ? "" : String(Number(tick.toPrecision(4))).replace("-", "\u2212"))) },
      ],
      hooks: {
        setCursor: [(/** @type {any} */ plot) => this.readings(plot.cursor.idx === null || plot.cursor.idx === undefined ? null : epochs[plot.cursor.idx])],
        setSelect: [(/** @type {any} */ plot) => {
          if (plot.select.width < 5) return;
          const [from, to] = [plot.select.left, plot.select.left + plot.select.width].map((left) => Math.round(plot.posToVal(left, "x")));
          if (to > from) this.set("z", `${from}-${to}`);
        }],
      },
    };
    const plot = new /** @type {any} */ (window).uPlot(options, data, box);
    plot.over.addEventListener("dblclick", () => this.set("z", DEFAULTS.z));
    this.plots.push(plot);
  }

  /** What the panel shows, in a sentence. @param {string} name */
  sentence(name) {
    const lowest = name !== "accuracy";
    let best = { value: lowest ? Infinity : -Infinity, epoch: 0, n: 0, title: "" };
    const split = this.groups.some((group) => group.curves[`val.${name}`]) ? "val" : "train";
    for (const group of this.groups) {
      const curve = group.curves[`${split}.${name}`];
      curve?.mean.forEach((value, index) => {
        if (value !== null && (lowest ? value < best.value : value > best.value)) best = { value, epoch: group.epochs[index], n: curve.n[index], title: group.title };
      });
    }
    const epochs = Math.max(0, ...this.groups.map((group) => group.epochs.at(-1) ?? 0));
    const many = this.groups.length === 1 ? "" : ` of ${this.groups.length} experiments`;
    return `${TITLES[name] ?? name}${many} over ${epochs} epochs; ${lowest ? "lowest" : "highest"} mean on ${split} ${shown(best.value, name)} (n = ${best.n}) at epoch ${best.epoch}${many ? `, ${best.title}` : ""}.`;
  }

  /** The values at an epoch, or at the last. @param {number | null} epoch */
  readings(epoch) {
    const legend = /** @type {HTMLTableElement} */ (this.legend);
    const names = this.names(), columns = this.columns();
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const top = head.insertRow(), now = epoch === null ? "last epoch" : `epoch ${epoch}`;
    const headings = [now, "n", ...columns.map(({ heading }) => heading)];
    for (const text of headings) {
      const cell = top.appendChild(document.createElement("th"));
      cell.textContent = text;
      if (top.cells.length > 1) cell.className = "right";
    }
    this.groups.forEach((group, place) => {
      const row = body.insertRow();
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.borderColor = /** @type {string[]} */ (this.colors)[place % COLORS];
      const main = Object.assign(row.insertCell(), { className: "main" });
      main.append(swatch, group.title);
      main.dataset.at = now;  // where the headings are out of sight
      const index = epoch === null ? group.epochs.length - 1 : group.epochs.indexOf(epoch);
      const counts = names.map((name) => group.curves[`val.${name}`] ?? group.curves[`train.${name}`]);
      const texts = [String(counts[0]?.n[index] ?? 0)];
      for (const { name, split } of columns) {
        const curve = group.curves[`${split}.${name}`];
        const half = curve && curve.low[index] !== null && curve.high[index] !== null && curve.low[index] !== undefined ? (/** @type {number} */ (curve.high[index]) - /** @type {number} */ (curve.low[index])) / 2 : null;
        const isTold = split === "val" && half !== null && !(isFraction(name) && half > WIDEST);
        texts.push(`${shown(curve?.mean[index], name)}${isTold ? ` ± ${isFraction(name) ? shown(half, name) : significant(half, 2)}` : ""}`);
      }
      for (const text of texts) {
        const cell = Object.assign(row.insertCell(), { textContent: text, className: "right" });
        cell.dataset.name = headings[cell.cellIndex];
      }
      if (this.groups.length > 1) {
        row.addEventListener("mouseenter", () => { if (this.raised !== place) { this.raised = place; this.draw(); } });
      }
    });
    legend.replaceChildren(head, body);
    legend.onmouseleave = () => { if (this.raised >= 0) { this.raised = -1; this.draw(); } };
  }

  /** All that is drawn, as a table. @param {HTMLDetailsElement} place */
  table(place) {
    place.querySelector(".scroll")?.remove();
    const box = place.appendChild(Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 }));
    const table = box.appendChild(document.createElement("table"));
    const columns = this.columns(), names = columns.map(({ name, split }) => `${split}.${name}`);
    const top = table.createTHead().insertRow();
    for (const text of ["experiment", "epoch", "n", ...columns.map(({ heading }) => heading)]) top.appendChild(Object.assign(document.createElement("th"), { textContent: text }));
    const body = table.createTBody();
    for (const group of this.groups) group.epochs.forEach((epoch, index) => {
      const row = body.insertRow();
      const n = (group.curves[names[0]] ?? group.curves[names[1]])?.n[index] ?? 0;
      for (const text of [group.title, String(epoch), String(n), ...names.map((name) => shown(group.curves[name]?.mean[index], name.split(".")[1]))]) row.insertCell().textContent = text;
    });
  }
}

/**
 * An experiment's numbers over seeds as the service gives them, and of each seed where these are drawn or tell how far
 * all have come: what all seeds had passed the last time is not asked for again.
 * @param {string} id @param {Group | undefined} before @param {boolean} isOfEach @returns {Promise<Group>}
 */
async function load(id, before, isOfEach) {
  const after = before && !(isOfEach && !Object.keys(before.seeds).length) ? before.passed : 0;
  const address = `/experiments/${id}/metrics?format=columns&after=${after}`;
  const get = async (/** @type {string} */ one) => {
    const answer = await fetch(one);
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };
  const over = await get(`${address}&aggregate=seeds`);
  const many = Math.max(0, ...["train", "val"].flatMap((split) => Object.values(over[split] ?? {}).flatMap((spread) => spread.n)));
  const isMoving = document.querySelector("[data-watch][data-live=yes]") !== null;
  const each = isOfEach || many < FEW || (isMoving && many <= MOST_FOLLOWED) ? await get(address) : { runs: [] };
  const kept = before ? before.epochs.filter((epoch) => epoch <= after) : [];
  const fresh = over.epochs.map((/** @type {number} */ epoch, /** @type {number} */ place) => ({ epoch, place })).filter((/** @type {{epoch: number}} */ one) => one.epoch > Math.max(after, 0));
  const epochs = [...kept, ...fresh.map((/** @type {{epoch: number}} */ one) => one.epoch)];
  /** @type {Record<string, Curve>} */ const curves = {};
  for (const split of ["train", "val"]) for (const [name, spread] of Object.entries(over[split] ?? {})) {
    const key = `${split}.${name}`, old = before?.curves[key];
    const joined = (/** @type {keyof Curve} */ part, /** @type {any[]} */ values) => [
      ...kept.map((_, place) => (old ? old[part][place] : part === "n" ? 0 : null)),
      ...fresh.map((/** @type {{place: number}} */ one) => values[one.place] ?? (part === "n" ? 0 : null)),
    ];
    curves[key] = {
      mean: joined("mean", spread.mean), n: joined("n", spread.n), min: joined("min", spread.min), max: joined("max", spread.max),
      low: joined("low", spread.ci95.map((/** @type {any} */ ends) => ends?.[0] ?? null)),
      high: joined("high", spread.ci95.map((/** @type {any} */ ends) => ends?.[1] ?? null)),
    };
  }
  if (before) for (const [key, old] of Object.entries(before.curves)) curves[key] ??= old;
  /** @type {Group["seeds"]} */ const seeds = {};
  let passed = Infinity;
  for (const run of each.runs) {
    const old = before?.seeds[run.seed];
    const place = new Map(run.epochs.map((/** @type {number} */ epoch, /** @type {number} */ index) => [epoch, index]));
    const own = seeds[run.seed] = {};
    for (const key of Object.keys(curves)) {
      const [split, name] = key.split(/\.(.*)/);
      const values = run[split]?.[name];
      own[key] = epochs.map((epoch, index) => (epoch <= after ? old?.[key]?.[index] ?? null : values?.[place.get(epoch)] ?? null));
    }
    passed = Math.min(passed, run.epochs.at(-1) ?? (old ? after : 0));
  }
  return { id, title: titleOf(id, before?.title), epochs, curves, seeds, passed: Number.isFinite(passed) ? Math.max(passed, after) : after };
}
