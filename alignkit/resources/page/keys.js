// Going through the hits by keyboard and pointer.

const hitsOf = (section) => (section ? [...section.querySelectorAll(".hit")] : []);

/** Open or close a hit's other fields. */
function open(hit, opened) {
  hit.setAttribute("aria-expanded", String(opened));
  hit.nextElementSibling.hidden = !opened;
}

/** The same row in the next column that has hits, or what stands at its height there. */
function beside(hit, step) {
  const columns = [...document.querySelectorAll(".column")].filter((column) => hitsOf(column).length);
  const here = hit.closest(".column");
  const there = hitsOf(columns[columns.indexOf(here) + step]);
  const same = there.find((other) => other.closest("li").dataset.key === hit.closest("li").dataset.key);
  return same ?? there[Math.min(hitsOf(here).indexOf(hit), there.length - 1)];
}

function neighbour(hit, key, query) {
  const hits = hitsOf(hit.closest(".column"));
  const place = hits.indexOf(hit);
  if (key === "ArrowDown") return hits[place + 1];
  if (key === "ArrowUp") return place ? hits[place - 1] : query;
  if (key === "ArrowLeft") return beside(hit, -1);
  if (key === "ArrowRight") return beside(hit, 1);
  return undefined;
}

/**
 * Listen to keys and pointer.
 *
 * @param {HTMLInputElement} query where a search is typed
 * @param {HTMLElement} results the columns
 * @param {() => boolean} stop ends the search under way; whether there was one
 */
export function listen(query, results, stop) {
  const escape = (at) => {
    if (stop()) return;
    if (at.matches(".hit[aria-expanded=true]")) open(at, false);
    else if (at !== query) query.focus();
    else query.value = "";
  };
  document.addEventListener("keydown", (event) => {
    const at = document.activeElement;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || query.form.hidden) return;
    let next;
    if (event.key === "/" && !at.matches("input, select")) next = query;
    else if (event.key === "ArrowDown" && at === query) next = results.querySelector("#head .hit") ?? results.querySelector(".hit");
    else if (at.matches(".hit")) next = neighbour(at, event.key, query);
    if (event.key === "Escape") escape(at);
    else if (!next) return;
    event.preventDefault();
    next?.focus();
    if (next === query) query.select();
  });
  results.addEventListener("click", (event) => {
    const hit = event.target.closest(".hit");
    if (hit) open(hit, hit.getAttribute("aria-expanded") !== "true");
  });
  for (const kind of ["focusin", "pointerover"]) {
    results.addEventListener(kind, (event) => {
      const key = event.target.closest("li")?.dataset.key;
      for (const item of results.querySelectorAll("li")) item.classList.toggle("same", item.dataset.key === key);
    });
  }
}
