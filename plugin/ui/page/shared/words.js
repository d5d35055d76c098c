// Numbers and times as a person reads them. Times are unix seconds of the server; `now` is the answer's own time if
// it has one, because the browser's clock may differ.

const UNITS = /** @type {const} */ ([
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
]);

/** @param {number} value */
export const number = (value) => value.toLocaleString("en-US");

/**
 * "1 scene", "2,000 scenes".
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/**
 * "0.3 s", "12 s", "5 minutes", "2 days".
 * @param {number} seconds
 */
export const duration = (seconds) => {
  const [unit, length] = UNITS.find(([, long]) => seconds >= long) ?? ["", 1];
  if (unit) return plural(Math.floor(seconds / length), unit);
  return `${seconds < 9.95 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
};

/**
 * "just now", "5 minutes ago".
 * @param {number} at
 * @param {number} [now]
 */
export const ago = (at, now = Date.now() / 1000) =>
  now - at < 5 ? "just now" : `${duration(Math.round(now - at))} ago`;

/**
 * "now", "in 5 minutes".
 * @param {number} at
 * @param {number} [now]
 */
export const ahead = (at, now = Date.now() / 1000) => (at - now < 1 ? "now" : `in ${duration(Math.round(at - now))}`);

/**
 * The local time: "14:05" today, "May 3, 14:05" in this year, else with the year.
 * @param {number} at
 * @param {number} [now]
 */
export const clock = (at, now = Date.now() / 1000) => {
  const [then, today] = [new Date(at * 1000), new Date(now * 1000)];
  const time = then.toLocaleTimeString("en-US", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (then.toDateString() === today.toDateString()) return time;
  const sameYear = then.getFullYear() === today.getFullYear();
  const day = then.toLocaleDateString("en-US", {
    month: "short",
    day: "numeric",
    year: sameYear ? undefined : "numeric",
  });
  return `${day}, ${time}`;
};
