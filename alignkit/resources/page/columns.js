// One column for each way to search: its hits, how long it took, and what moved against the best order there is.
// Everything that comes from the index is put in as text, never as HTML.

export const ROUTES = ["student", "head", "cascade", "teacher"];
const ABOUT = {
  student: ["Student", "the cheap model alone, in an index of its own"],
  head: ["Head", "the student through the head, in the teacher's index"],
  cascade: ["Cascade", "the head finds candidates, the teacher orders them"],
  teacher: ["Teacher", "the expensive model in its own index"],
};

const byId = (id) => document.getElementById(id);
export const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);
const ms = (value) => (value == null ? "?" : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

export class Column {
  constructor(route) {
    const [title, what] = ABOUT[route];
    this.route = route;
    this.section = copyOf("column-template");
    this.section.id = route;
    this.section.setAttribute("aria-labelledby", `${route}-title`);
    this.part("h2").id = `${route}-title`;
    this.part("h2").textContent = title;
    this.part(".what").textContent = what;
    byId("results").append(this.section);
    const link = document.createElement("a");
    link.href = `#${route}`;
    link.textContent = title;
    byId("jump").append(link);
  }

  part(selector) {
    return this.section.querySelector(selector);
  }

  note(text, wrong = false) {
    this.part(".note").textContent = text;
    this.part(".note").classList.toggle("wrong", wrong);
    this.part(".note").hidden = !text;
  }

  /** @param {string|null} missing why this route is not available now */
  clear(missing) {
    this.missing = missing;
    this.hits = []; // what the route itself found, or another for it
    this.own = false; // whether the route itself answered
    this.answered = false;
    this.part("ol").replaceChildren();
    this.part(".took").textContent = this.part(".shared").textContent = "";
    this.part(".sure").hidden = true;
    this.note(missing ? `Not available: ${missing}` : "");
  }

  /** Count the seconds until the function that is returned is called. */
  wait() {
    const started = performance.now();
    const tell = () => {
      const seconds = Math.floor((performance.now() - started) / 1000);
      this.part(".took").textContent = seconds ? `searching for ${seconds} s, Esc stops` : "searching";
    };
    this.section.setAttribute("aria-busy", "true");
    tell();
    const timer = setInterval(tell, 1000);
    return () => {
      clearInterval(timer);
      this.section.removeAttribute("aria-busy");
      if (!this.answered) this.part(".took").textContent = "";
    };
  }

  /** Show an answer; returns it in a few words. */
  fill(answer) {
    const { embed, search, total } = answer.ms;
    const kept = answer.kept ? " (the teacher's vector was kept)" : "";
    this.answered = true;
    this.own = [this.route, "mixed"].includes(answer.route); // mixed: both halves of a half-moved index
    this.hits = answer.hits.map((hit) => ({ ...hit, key: JSON.stringify(hit.id) }));
    this.part("ol").append(...this.hits.map(hitItem));
    this.part(".took").textContent = `${ms(total)} ms: embedding ${ms(embed)}${kept}, search ${ms(search)}`;
    const by = answer.route === this.route ? "" : `Route used: ${answer.route}`;
    this.note([by, answer.reason, this.hits.length ? "" : "nothing found"].filter(Boolean).join("; "));
    if (this.route === "head" && answer.confidence != null) {
      this.part("meter").value = answer.confidence;
      this.part("b").textContent = answer.confidence.toFixed(2);
      this.part(".sure").hidden = false;
    }
    return `${this.route}: ${counted(this.hits.length, "hit")} in ${ms(total)} ms`;
  }

  /** Mark what stands elsewhere than in the reference's order. */
  compareWith(reference) {
    const there = new Map(reference.hits.map((hit, place) => [hit.key, place]));
    const shared = this.hits.filter((hit) => there.has(hit.key)).length;
    this.part(".shared").textContent = `finds ${shared} of the ${reference.route}'s ${there.size}`;
    this.items().forEach((item, place) => mark(item, ...movement(there.get(item.dataset.key), place, reference.route)));
  }

  /** As the reference: mark which of its hits the others miss. */
  compareAll(others) {
    this.part(".shared").textContent = others.length ? "the others are compared with this order" : "";
    for (const item of this.items()) {
      const missing = others.filter((other) => other.hits.every((hit) => hit.key !== item.dataset.key));
      const words = missing.length ? `missed by ${missing.map((other) => other.route).join(", ")}` : "";
      mark(item, "away", words, "");
    }
  }

  items() {
    return [...this.section.querySelectorAll("li")];
  }
}

/** Compare all columns with the best order there is, which is told in the last. */
export function compare(columns) {
  const answered = columns.filter((column) => column.answered);
  const reference = answered.findLast((column) => column.own && column.hits.length);
  const others = answered.filter((column) => column !== reference);
  if (!reference) return;
  for (const column of others) column.compareWith(reference);
  reference.compareAll(others);
}

function movement(there, here, reference) {
  if (there === undefined) return ["away", `not the ${reference}'s`, ""];
  const places = there - here;
  if (places === 0) return ["", "=", `the same place as in the ${reference}'s order`];
  const words = `${counted(Math.abs(places), "place")} ${places > 0 ? "above" : "below"} the ${reference}'s`;
  return places > 0 ? ["up", `▲ ${places}`, words] : ["down", `▼ ${-places}`, words];
}

// a sign is for the eye alone; where words are given, they are what is read out
function mark(item, kind, sign, words) {
  const moved = item.querySelector(".moved");
  moved.className = `moved ${kind}`;
  moved.title = words;
  moved.querySelector("span").textContent = sign;
  moved.querySelector("span").ariaHidden = words ? "true" : null;
  moved.querySelector(".spoken").textContent = words;
}

function hitItem(hit) {
  const item = copyOf("hit-template");
  item.dataset.key = hit.key;
  item.querySelector(".text").textContent = hit.text ?? `row ${hit.id}, without a text`;
  item.querySelector(".score").textContent = hit.score == null ? "" : hit.score.toFixed(3);
  const more = item.querySelector("dl");
  for (const [field, value] of [["id", hit.id], ...Object.entries(hit.payload ?? {})]) {
    const name = document.createElement("dt");
    const what = document.createElement("dd");
    name.textContent = field;
    what.textContent = typeof value === "string" ? value : JSON.stringify(value);
    what.dir = "auto";
    more.append(name, what);
  }
  return item;
}
