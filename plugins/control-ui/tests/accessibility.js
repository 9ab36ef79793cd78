// Returns what would keep somebody from using the page as it is shown now.
() => {
  const problems = [];
  const say = (what, element) => problems.push(`${what}: ${element ? describe(element) : ""}`);
  const describe = (e) => `<${e.tagName.toLowerCase()}${e.id ? ` id=${e.id}` : ""} class="${e.getAttribute("class") || ""}"> ${(e.textContent || "").trim().slice(0, 40)}`;
  const visible = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getBoundingClientRect().width > 0;
  const top = document.querySelector("dialog[open]") || document.body;

  // --- Structure ---------------------------------------------------------------------
  if (!document.documentElement.lang) say("no language");
  if (!document.title) say("no title");
  if (document.querySelectorAll("main").length !== 1) say("not one main landmark");
  if (!document.querySelector("nav[aria-label]")) say("no named navigation");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  ids.filter((id, n) => ids.indexOf(id) !== n).forEach((id) => say(`id ${id} is there twice`));
  for (const attribute of ["aria-describedby", "aria-labelledby", "aria-controls", "for"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of element.getAttribute(attribute).split(/\s+/)) if (!document.getElementById(id)) say(`${attribute} leads nowhere (${id})`, element);
    }
  }
  const headings = [...document.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")].filter((e) => e.checkVisibility());
  const levels = headings.map((e) => Number(e.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 && !document.querySelector("dialog[open]")) say(`${levels.filter((l) => l === 1).length} headings of level 1`);
  levels.forEach((level, n) => n && level > levels[n - 1] + 1 && !headings[n].closest(".prose, .tool-body") && say("a level is left out before", headings[n]));

  // --- Controls ----------------------------------------------------------------------
  const nameOf = (e) => {
    const by = e.getAttribute("aria-labelledby");
    const label = e.labels?.length ? [...e.labels].map((l) => l.textContent).join(" ") : "";
    return (e.getAttribute("aria-label") || (by && by.split(/\s+/).map((id) => document.getElementById(id)?.textContent).join(" ")) || label || e.innerText || e.getAttribute("alt") || e.title || "").trim();
  };
  for (const element of top.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea, summary, [role=button], [tabindex='0']")) {
    if (!visible(element)) continue;
    if (!nameOf(element)) say("no name", element);
    if (element.tabIndex > 0) say("a place in the order of its own", element);
    const box = element.getBoundingClientRect();
    const inline = element.matches("a") && getComputedStyle(element).display === "inline";
    if (!inline && !element.closest(".skip, label, .prose") && element.matches("button, a, select, summary") && (box.width < 24 || box.height < 24)) say(`too small to hit (${Math.round(box.width)}x${Math.round(box.height)})`, element);
  }
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say("no alternative text", image);
  for (const svg of document.querySelectorAll("svg")) if (svg.getAttribute("aria-hidden") !== "true") say("a picture that is read aloud", svg.parentNode);

  // --- Contrast ----------------------------------------------------------------------
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1 || e.matches("dialog")) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)).reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const seen = new Set();
  const walker = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || seen.has(element) || !visible(element) || element.closest(".hidden-text, .skip, :disabled, option, noscript")) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const below = ground(element);
    const [a, b] = [light(over(parse(style.color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, element);
  }

  // --- Width -------------------------------------------------------------------------
  const wide = document.scrollingElement.scrollWidth - innerWidth;
  if (wide > 1) say(`the page is ${wide} px too wide`);
  const main = document.getElementById("main");
  if (main.scrollWidth - main.clientWidth > 1) say(`the content is ${main.scrollWidth - main.clientWidth} px too wide`);
  return [...new Set(problems)];
}
