// Arithmetic of the charts that needs no browser: tested by itself.

/**
 * Exponential moving average without the bias of its start (Kingma & Ba 2015, section 3).
 * @param {(number | null)[]} values @param {number} weight of what was before, 0 to 1
 * @returns {(number | null)[]}
 */
export function smoothed(values, weight) {
  if (weight <= 0) return values;
  let mean = 0, count = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    mean = weight * mean + (1 - weight) * value;
    count += 1;
    return mean / (1 - weight ** count);
  });
}

/** The state that an address holds; what is the default is left out of it. */
export const DEFAULTS = { m: "loss,accuracy", b: "interval", y: "lin", s: "0", z: "" };

/** @param {string} search @returns {typeof DEFAULTS} */
export function readState(search) {
  const said = new URLSearchParams(search), state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (said.has(name)) state[name] = said.get(name);
  return state;
}

/** @param {string} search of now @param {typeof DEFAULTS} state @returns {string} */
export function writeState(search, state) {
  const said = new URLSearchParams(search);
  for (const [name, value] of Object.entries(state)) {
    if (value === DEFAULTS[name]) said.delete(name);
    else said.set(name, value);
  }
  const text = said.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : location.pathname;
}

/** Whether people read a score in percent. @param {string} name */
export const isFraction = (name) => /^(accuracy|precision|recall|f1|top5|ece)/.test(name);

/** Half an interval of a fraction that still tells something. */
export const WIDEST = 0.25;

/** Ends of intervals as they are drawn: those of a fraction lie where fractions do, and no loss is below 0. @param {(number | null)[]} ends @param {string} name */
export function cut(ends, name) {
  const most = isFraction(name) ? 1 : Infinity;
  return ends.map((end) => (end === null ? null : Math.min(Math.max(end, 0), most)));
}

/** A number as tables of this service write it. @param {number | null | undefined} value @param {string} name */
export function shown(value, name) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (isFraction(name)) return minus((100 * value).toFixed(2));
  // rates and times are set or short, scores are measured: of these zeros at the end are shown, too
  return minus(/^(learning_rate|seconds)/.test(name) ? String(Number(value.toPrecision(4))) : significant(value, 4));
}

/** @param {number} value @param {number} digits @returns {string} */
export function significant(value, digits) {
  const size = Math.abs(value), isPlain = !size || (size >= 1e-4 && size < 10 ** digits);
  return (isPlain ? value.toPrecision(digits) : value.toExponential(digits - 1)).replace(/e([+-])(\d)$/, "e$10$2");
}

const minus = (/** @type {string} */ text) => text.replace(/^-/, "\u2212");

/**
 * Where a zoom says that an axis begins and ends.
 * @param {string} text `3-17` @returns {[number, number] | null}
 */
export function readZoom(text) {
  const found = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(text);
  if (!found) return null;
  const range = /** @type {[number, number]} */ ([Number(found[1]), Number(found[2])]);
  return range[0] < range[1] ? range : null;
}
