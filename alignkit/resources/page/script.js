// The page: what is served, the search, the run's verdict and plots.

import { Column, ROUTES, compare, copyOf } from "./columns.js";
import { listen } from "./keys.js";
import { ask, useToken } from "./server.js";

const byId = (id) => document.getElementById(id);
let columns = [];
let running = null; // the AbortController of the search under way

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").className = wrong ? "wrong" : "";
}

async function begin() {
  let run, found, problem;
  try {
    run = await ask("page/run");
  } catch (error) {
    return refuse(error);
  }
  try {
    found = await ask("search");
  } catch (error) {
    problem = error; // it may be over when the first search is made
  }
  byId("token-form").hidden = true;
  showRun(run, found?.index);
  say(problem?.message ?? "", true);
  byId("no-index").hidden = problem || found.index;
  byId("search-form").hidden = !problem && !found.index;
  byId("results").replaceChildren();
  byId("jump").replaceChildren();
  columns = ROUTES.map((route) => new Column(route));
  byId("query").focus();
}

function refuse(error) {
  const asks = error.status === 401;
  const again = asks && byId("token-form").hidden;
  byId("token-form").hidden = !asks;
  say(again ? "" : error.message, true);
  if (asks) byId("token").focus();
}

function showRun(run, index) {
  const models = run.student && run.teacher ? `${run.student} in place of ${run.teacher}` : null;
  const engine = index && [index.place, `${index.rows.toLocaleString("en")} rows of ${index.dim} numbers`, index.metric];
  byId("model").textContent = document.title = run.model;
  byId("engines").textContent = run.engines.join(", ");
  byId("about").textContent = [models, engine?.filter(Boolean).join(", ")].filter(Boolean).join(" · ");
  byId("run").hidden = !run.verdict;
  if (!run.verdict) return;
  byId("verdict").className = run.verdict.name;
  byId("headline").textContent = run.verdict.headline;
  byId("reasons").replaceChildren(
    ...run.verdict.reasons.map((reason) => line(reason, "")),
    ...run.alarms.map((alarm) => line(`Alarm: ${alarm}`, "alarm")),
  );
  byId("pictures").replaceChildren(...run.pictures.map(picture));
}

function line(text, className) {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = className;
  return item;
}

function picture({ question, svg, answer }) {
  const figure = copyOf("picture-template");
  figure.querySelector("h3").textContent = question;
  // as an image nothing in it can run
  figure.querySelector("img").src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  figure.querySelector("img").alt = `Plot: ${question}`;
  figure.querySelector("figcaption").textContent = answer;
  return figure;
}

async function search(query, k) {
  running?.abort();
  const mine = (running = new AbortController());
  const outcomes = [];
  say("Searching");
  try {
    await searchAll(query, k, mine.signal, outcomes);
  } catch (error) {
    if (running !== mine) return; // a newer search has taken over
    if (mine.signal.aborted) outcomes.push("stopped");
    else refuse(error);
  }
  running = null;
  if (outcomes.length) say(outcomes.join("; "), columns.every((column) => !column.answered));
}

async function searchAll(query, k, signal, outcomes) {
  // which routes there are changes while the server runs
  const { routes } = await ask("search", null, signal);
  for (const column of columns) column.clear(routes[column.route]);
  byId("results").hidden = byId("jump").hidden = false;
  // one after the other: each is timed alone, and the quick ones are there at once
  for (const column of columns.filter((one) => !one.missing)) {
    const ended = column.wait();
    say(`Searching: ${column.route}`);
    try {
      outcomes.push(column.fill(await ask("search", { query, k, route: column.route }, signal)));
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      column.note(error.message, true);
      outcomes.push(`${column.route}: failed`);
    } finally {
      ended();
    }
    compare(columns);
  }
  if (columns.every((one) => one.missing)) outcomes.push("no route is available");
}

function stop() {
  running?.abort();
  return running !== null;
}

listen(byId("query"), byId("results"), stop);
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = byId("query").value.trim();
  if (query) search(query, Number(byId("count").value));
  else say("Type a text to search for.", true);
});
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  begin();
});
begin();
