// Words for numbers and times, in the reader's own language where there is one.

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

/** Return "5 min. ago" for milliseconds since the epoch. */
export function ago(ms, now = Date.now()) {
  if (!ms) return "never";
  let amount = (ms - now) / 1000;
  if (Math.abs(amount) < 5) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}

export const moment = (ms) => (ms ? new Date(ms).toLocaleString() : "");
export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
export const number = (value) => new Intl.NumberFormat().format(value ?? 0);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Return "3 h 12 min" for milliseconds. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Return "640 µs", "12 ms" or "1.4 s" for seconds. */
export function span(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${(count / 1024).toFixed(1)} KB` : `${(count / 1024 / 1024).toFixed(1)} MB`;
}

/** Return a text of at most so many characters, without half a character at its end. */
export function short(text, length) {
  const characters = Array.from(String(text));
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length - 1).join("")}…`;
}

/** Return the first line of a Markdown text as plain words, for where there is little room. */
export const gist = (text) => String(text || "").replace(/```\w*|[*_`~]+|^\s*(#+|>|[-+]|\d+\.)\s+/gm, "").replace(/\s+/g, " ").trim();

/** Return a name for a session that people recognise. */
export function sessionName(row) {
  if (row.label) return row.label;
  const [, agent, ...rest] = row.key.split(":");
  const name = rest.join(":") || row.key;
  const whose = agent && agent !== "main" ? ` · ${agent}` : "";
  if (name === "main") return `Main conversation${whose}`;
  return `${row.displayName || row.derivedTitle || name}${whose}`;
}
