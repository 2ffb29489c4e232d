// The model, beside the page: text in, numbers out. The page stays smooth while it computes.

import * as ort from "./vendor/onnxruntime/ort.js";
import { makeTokenizer } from "./tokenizer.js";

const MODEL = "model/model.onnx";
const TOKENIZER = "model/tokenizer.json";
const CONFIG = "model/tokenizer_config.json";
const ENGINE = "vendor/onnxruntime/ort-wasm.wasm";

let session;
let tokenize;
let kind;

/** All bytes of a file; `arrived` hears how many came. */
async function bytes(name, expected, arrived) {
  let response;
  try {
    response = await fetch(name, { cache: "no-cache" });
  } catch {
    throw new Error(`${name} could not be reached: is the page's server still running?`);
  }
  if (!response.ok) {
    throw new Error(`${name} is not there (${response.status}): build the page again.`);
  }
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Error(`${name} broke off while it was loading: reload the page.`);
    });
    if (done) break;
    parts.push(value);
    length += value.length;
    arrived(value.length);
  }
  if (length !== expected) {
    throw new Error(
      `${name} has ${length} bytes instead of ${expected}: reload, or build the page again.`,
    );
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function load(told) {
  const names = Object.keys(told.bytes);
  const total = names.reduce((sum, name) => sum + told.bytes[name], 0);
  let loaded = 0;
  const files = Object.fromEntries(
    await Promise.all(
      names.map(async (name) => {
        const content = await bytes(name, told.bytes[name], (count) => {
          loaded += count;
          postMessage({ type: "progress", loaded, total });
        });
        return [name, content];
      }),
    ),
  );
  const json = (name) => JSON.parse(new TextDecoder().decode(files[name]));
  tokenize = makeTokenizer(json(TOKENIZER), json(CONFIG), told.max_length);
  kind = told.kind;
  // One thread: more would need headers that a plain file server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = files[ENGINE].buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL("vendor/onnxruntime/ort-wasm.js", import.meta.url) };
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(files[MODEL], { executionProviders: ["wasm"] });
  if (!session.outputNames.includes("logits")) {
    throw new Error("the model has no output of classes: build the page of a classifier.");
  }
  await answer(told.fields.map(() => "warm up")); // the first pass also makes its buffers
  postMessage({ type: "ready" });
}

async function answer([text, pair = null]) {
  const begun = performance.now();
  const { ids, types, cut } = tokenize(text, pair);
  const row = (values) =>
    new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const given = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
  const feeds = {};
  for (const name of session.inputNames) feeds[name] = row(given[name]);
  const { logits } = await session.run(feeds);
  const scores = shares(Array.from(logits.data));
  return { scores, tokens: ids.length, cut, milliseconds: performance.now() - begun };
}

/** Logits as probabilities; a value stays what it is. */
function shares(logits) {
  if (kind === "value") return logits;
  if (kind === "labels") return logits.map((x) => 1 / (1 + Math.exp(-x)));
  const top = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

addEventListener("message", async ({ data }) => {
  try {
    if (data.type === "load") await load(data.told);
    else postMessage({ type: "answer", texts: data.texts, ...(await answer(data.texts)) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    postMessage({ type: "problem", message, loading: data.type === "load" });
  }
});
