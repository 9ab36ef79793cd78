// What changed between two texts, line by line, and between two configurations.

/** Return [sign, line] pairs; the sign is " ", "-" or "+". */
export function lines(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const same = (text) => [" ", text];
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [...a.slice(0, head).map(same), ...middle, ...a.slice(a.length - tail).map(same)];
}

/** The longest common subsequence; two very long texts are simply replaced. */
function between(a, b) {
  if (a.length * b.length > 4_000_000) return [...a.map((t) => ["-", t]), ...b.map((t) => ["+", t])];
  const width = b.length + 1;
  const best = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      best[i * width + j] = a[i] === b[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
    }
  }
  const out = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && best[(i + 1) * width + j] >= best[i * width + j + 1])) {
      out.push(["-", a[i]]);
      i += 1;
    } else {
      out.push(["+", b[j]]);
      j += 1;
    }
  }
  return out;
}

/** Keep some lines around each change, and say with null where lines were left out. */
export function around(pairs, context = 3) {
  const near = pairs.map((_, n) => pairs.slice(Math.max(0, n - context), n + context + 1).some(([sign]) => sign !== " "));
  return pairs.reduce((kept, pair, n) => {
    if (near[n]) kept.push(pair);
    else if (kept.length === 0 || kept[kept.length - 1] !== null) kept.push(null);
    return kept;
  }, []);
}

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Return the merge patch that makes one value from another, and each change in it. */
export function patchOf(before, after, path = []) {
  const patch = {};
  const changes = [];
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[key], after[key]];
    if (equal(old, now)) continue;
    if (isMap(old) && isMap(now)) {
      const inner = patchOf(old, now, [...path, key]);
      patch[key] = inner.patch;
      changes.push(...inner.changes);
    } else {
      patch[key] = now === undefined ? null : now;
      changes.push({ path: [...path, key], before: old, after: now });
    }
  }
  return { patch, changes };
}
