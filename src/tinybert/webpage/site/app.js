// Ties the fields to the model: waits for a pause in typing, asks, shows; the latest text wins.

import { View } from "./view.js";

const PAUSE = 120; // milliseconds without a key before the model is asked

const BROWSER = "a current Chrome, Edge, Firefox or Safari runs it.";

async function told() {
  let response;
  try {
    response = await fetch("page.json", { cache: "no-cache" });
  } catch {
    throw new Error("the page's files cannot be reached: is its server still running?");
  }
  if (!response.ok) throw new Error("page.json is not there: build the page again.");
  return response.json();
}

function start(page) {
  const view = new View(page);
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  let ready = false;
  let busy = false;
  let waiting = false;
  let timer;

  const texts = () => view.texts.map((field) => field.value);
  const nothing = () => texts().every((text) => text.trim() === "");

  function ask() {
    clearTimeout(timer);
    waiting = false;
    if (!ready || nothing()) return;
    if (busy) {
      waiting = true; // asked again when the model is free, with what stands there then
      return;
    }
    busy = true;
    worker.postMessage({ type: "answer", texts: texts() });
  }

  function changed(pause) {
    document.getElementById("clear").hidden = texts().every((text) => text === "");
    clearTimeout(timer);
    if (nothing()) view.clear();
    else timer = setTimeout(ask, pause);
  }

  function write(row) {
    view.texts.forEach((field, i) => (field.value = row[i]));
    changed(0);
  }

  worker.addEventListener("message", ({ data }) => {
    if (data.type === "progress") view.progress(data.loaded, data.total);
    if (data.type === "ready") {
      ready = true;
      view.ready();
      ask();
    }
    if (data.type === "problem") view.problem(data.message);
    if (data.type === "answer" || (data.type === "problem" && !data.loading)) {
      busy = false;
      if (waiting) ask();
    }
    if (data.type === "answer" && !busy && !nothing()) {
      view.answer(data);
      document.dispatchEvent(new CustomEvent("answered", { detail: data }));
    }
  });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    view.problem(`the model cannot be started here (${event.message || "no reason given"}): ${BROWSER}`);
  });

  view.texts.forEach((field) => field.addEventListener("input", () => changed(PAUSE)));
  document.getElementById("clear").addEventListener("click", () => {
    write(view.texts.map(() => ""));
    view.texts[0].focus();
  });
  document.querySelectorAll(".example").forEach((button) => {
    button.addEventListener("click", () => write(page.examples[Number(button.dataset.row)]));
  });
  worker.postMessage({ type: "load", told: page });
}

document.body.dataset.state = "loading";
try {
  start(await told());
} catch (error) {
  const problem = document.getElementById("problem");
  document.getElementById("loading").hidden = true;
  problem.hidden = false;
  problem.textContent = error.message.charAt(0).toUpperCase() + error.message.slice(1);
}
