// How the page asks the server it came from.

// kept here alone: gone when the page is reloaded
let token = null;
export const useToken = (given) => { token = given; };

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// ids beyond 2^53 would be rounded; where the browser tells how they were written, that is kept
const exact = (key, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && context ? context.source : value;

export async function ask(path, body, signal) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) };
  let response, text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  let answer;
  try {
    answer = JSON.parse(text, exact);
  } catch {
    throw new Refused(response.status, `The server answered ${response.status} without words.`);
  }
  if (!response.ok) throw new Refused(response.status, answer.error?.message ?? answer.error ?? `status ${response.status}`);
  return answer;
}
