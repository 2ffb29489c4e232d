// What is seen: fields, answer, speed, problems. It knows nothing of models.

const SHOWN = 8; // classes without a click
const RUNS = 15; // of which the median time is told
const SPOKEN_AFTER = 900; // milliseconds of silence before an answer is read out

const at = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 3, minimumFractionDigits: 3 });

export function megabytes(count) {
  return (count / 1e6).toFixed(1);
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Milliseconds with as many digits as mean something. */
export function milliseconds(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

export class View {
  #told;
  #bars = [];
  #times = [];
  #all = false;
  #speaking;

  constructor(told) {
    this.#told = told;
    this.texts = [...document.querySelectorAll("textarea.text")];
    at("result").classList.toggle("value", told.kind === "value");
    if (told.kind !== "value") this.#makeBars();
    this.clear();
  }

  progress(loaded, total) {
    const done = loaded >= total;
    at("progress").value = loaded / total;
    at("loading-text").textContent = done
      ? "Starting the model …"
      : `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`;
  }

  ready() {
    document.body.dataset.state = "ready";
    at("loading").hidden = true;
    at("result").hidden = false;
  }

  problem(message) {
    document.body.dataset.state = "failed";
    at("loading").hidden = true;
    at("problem").hidden = false;
    at("problem").textContent = message.charAt(0).toUpperCase() + message.slice(1);
  }

  /** Back to a page that nothing was written on. */
  clear() {
    clearTimeout(this.#speaking);
    at("result").classList.add("empty");
    at("best-name").textContent = "Nothing to read yet";
    at("best-score").textContent = "";
    at("spoken").textContent = "";
    at("count").textContent = "";
    at("count").classList.remove("cut");
    if (this.#told.kind !== "value") this.#showBars(this.#told.labels.map(() => null));
  }

  answer({ scores, tokens, cut, milliseconds: time }) {
    at("problem").hidden = true;
    at("result").classList.remove("empty");
    const best = scores.indexOf(Math.max(...scores));
    const score = this.#format(scores[best]);
    at("best-name").textContent = this.#told.labels[best];
    at("best-score").textContent = score;
    if (this.#told.kind !== "value") this.#showBars(scores);
    this.#showCount(tokens, cut);
    this.#showTime(time);
    clearTimeout(this.#speaking); // a screen reader hears what stays, not every key
    this.#speaking = setTimeout(() => {
      at("spoken").textContent = `${this.#told.labels[best]}, ${score}`;
    }, SPOKEN_AFTER);
  }

  #format(score) {
    const format = this.#told.kind === "value" ? decimal : percent;
    return format.format(score).replace("-", "−");
  }

  #showCount(tokens, cut) {
    at("count").classList.toggle("cut", cut);
    at("count").textContent = cut
      ? `Cut at ${this.#told.max_length} tokens: the rest is not read`
      : `${tokens} of ${this.#told.max_length} tokens`;
  }

  #showTime(time) {
    this.#times = [...this.#times, time].slice(-RUNS);
    at("speed").textContent = `${milliseconds(median(this.#times))} ms`;
    const runs = this.#times.length;
    at("speed-text").textContent =
      runs === 1 ? "for this answer" : `median of the last ${runs} answers`;
  }

  #makeBars() {
    const count = Math.min(this.#told.labels.length, SHOWN);
    const button = at("all");
    button.hidden = this.#told.labels.length <= SHOWN;
    button.textContent = `Show all ${this.#told.labels.length}`;
    button.addEventListener("click", () => {
      this.#all = !this.#all;
      button.textContent = this.#all ? "Show fewer" : `Show all ${this.#told.labels.length}`;
      button.setAttribute("aria-expanded", String(this.#all));
      this.#addBars(this.#all ? this.#told.labels.length : count);
      this.#showBars(this.scores);
    });
    this.#addBars(count);
  }

  #addBars(count) {
    const list = at("bars");
    list.replaceChildren();
    this.#bars = Array.from({ length: count }, () => {
      const bar = document.createElement("li");
      const parts = ["label", "share", "track"].map((name) => {
        const part = document.createElement(name === "track" ? "div" : "span");
        part.className = name;
        bar.append(part);
        return part;
      });
      const fill = document.createElement("div");
      fill.className = "fill";
      parts[2].append(fill);
      parts[2].setAttribute("aria-hidden", "true");
      list.append(bar);
      return { bar, label: parts[0], share: parts[1], fill };
    });
  }

  /** Few classes keep their places; of many the likeliest come first. */
  #showBars(scores) {
    this.scores = scores;
    const order = scores.map((_, i) => i);
    if (scores.length > SHOWN) order.sort((a, b) => scores[b] - scores[a]);
    const best = scores[0] === null ? -1 : scores.indexOf(Math.max(...scores));
    this.#bars.forEach(({ bar, label, share, fill }, place) => {
      const i = order[place];
      bar.classList.toggle("first", i === best);
      label.textContent = this.#told.labels[i];
      share.textContent = scores[i] === null ? "–" : percent.format(scores[i]);
      fill.style.setProperty("--share", String(scores[i] ?? 0));
    });
  }
}
