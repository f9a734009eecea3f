"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const figure = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const dayOf = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, day: "numeric", month: "short" });
  const hourOf = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, hour: "2-digit", hourCycle: "h23" });
  let asked = 0;
  let answered = null; // {predictions, history}

  // The rows that were sent, to draw what came before the forecast: quoted cells and both ends of line as in RFC 4180.
  function cells(text) {
    const lines = [[]];
    const pattern = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|$)/g;
    for (const [whole, cell, end] of text.matchAll(pattern)) {
      lines.at(-1).push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
      if (!whole && !end) break;
      if (end.endsWith("\n")) lines.push([]);
    }
    return lines.filter((line) => line.length > 1 || (line[0] ?? "") !== "");
  }

  function observed(text) {
    const [head = [], ...lines] = cells(text);
    const time = [data.time, "time"].map((name) => head.indexOf(name)).find((place) => place >= 0) ?? -1;
    const key = [data.series, "series"].map((name) => head.indexOf(name)).find((place) => place >= 0) ?? -1;
    const history = new Map();
    if (time < 0) return history;
    for (const line of lines) {
      // Only moments that say where they are: others lie in the model's zone, which the browser may not know.
      if (!/(Z|[+-]\d\d:?\d\d)$/.test(line[time] ?? "")) continue;
      const moment = Date.parse(line[time]);
      if (Number.isNaN(moment)) continue;
      const name = key < 0 ? "series" : line[key];
      if (!history.has(name)) history.set(name, new Map());
      const values = data.outputs.map(({ name: target }) => line[head.indexOf(target)] ?? "");
      history.get(name).set(moment, values.map((value) => (value.trim() === "" || Number.isNaN(Number(value)) ? null : Number(value))));
    }
    return history;
  }

  function ticks(low, high, most) {
    const rough = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((part) => part * power).find((size) => size >= rough);
    const out = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) out.push(Number(value.toPrecision(12)));
    return out;
  }

  function draw(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function path(points, x, y) {
    let text = "";
    let pen = "M";
    for (const [moment, value] of points) {
      if (value === null) { pen = "M"; continue; }
      text += `${pen}${x(moment).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    }
    return text;
  }

  // Where days begin in the model's zone; hours between them where there is room.
  function moments(first, last, room) {
    const hour = 3600e3;
    const span = last - first;
    const every = [6, 12, 24, 48, 168, 336, 720, 2160, 8760].map((n) => n * hour).find((size) => span / size <= room) ?? span;
    const out = [];
    for (let moment = Math.ceil(first / hour) * hour; moment <= last; moment += hour) {
      const local = Number(hourOf.format(moment));
      if (every >= 24 * hour ? local === 0 && (!out.length || moment - out.at(-1) >= every * 0.99) : local % (every / hour) === 0) out.push(moment);
    }
    return out.length ? out : [first, last];
  }

  function chart(output, place, prediction, history, width) {
    const height = 230;
    const edge = { left: 46, right: 10, top: 12, bottom: 26 };
    const steps = prediction.forecast.map((step) => ({ ...step, moment: Date.parse(step.time) }));
    const origin = Date.parse(prediction.origin);
    const [lowest, highest] = [output.quantiles[0], output.quantiles.at(-1)];
    const banded = output.quantiles.length > 1;
    const past = [...history.entries()].filter(([moment]) => moment <= origin).sort((a, b) => a[0] - b[0])
      .slice(-Math.max(steps.length * 2, 24)).map(([moment, values]) => [moment, values[place]]);
    const first = past.length ? past[0][0] : origin;
    const last = steps.at(-1).moment;
    const all = [...past.map(([, value]) => value), ...steps.flatMap((step) => (banded ? [step[output.name], step[lowest], step[highest]] : [step[output.name]]))];
    const numbers = all.filter((value) => value !== null);
    let [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const margin = (high - low) * 0.06 || 1;
    low = low >= 0 && low < margin ? 0 : low - margin;
    high += margin;
    const x = (moment) => edge.left + ((moment - first) / (last - first)) * (width - edge.left - edge.right);
    const y = (value) => height - edge.bottom - ((value - low) / (high - low)) * (height - edge.top - edge.bottom);
    const box = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "plot" });
    box.append(draw("title", {}, `${output.name}: forecast of ${steps.length} steps from ${clock.format(origin)}`));
    for (const value of ticks(low, high, 4)) {
      box.append(draw("line", { x1: edge.left, x2: width - edge.right, y1: y(value), y2: y(value), class: "rule" }));
      box.append(draw("text", { x: edge.left - 7, y: y(value) + 4, class: "end" }, figure(value)));
    }
    for (const moment of moments(first, last, Math.max(2, Math.floor(width / 90)))) {
      const hour = hourOf.format(moment);
      const anchor = x(moment) > width - 40 ? "end" : x(moment) < edge.left + 20 ? "start" : "middle";
      box.append(draw("text", { x: x(moment), y: height - 7, "text-anchor": anchor }, hour === "00" ? dayOf.format(moment) : `${hour}:00`));
    }
    if (banded) {
      const there = steps.map((step) => [step.moment, step[highest]]);
      const back = steps.map((step) => [step.moment, step[lowest]]).reverse();
      box.append(draw("path", { d: `${path([...there, ...back], x, y)}Z`, class: "band" }));
    }
    box.append(draw("line", { x1: x(origin), x2: x(origin), y1: edge.top, y2: height - edge.bottom, class: "now" }));
    box.append(draw("path", { d: path(past, x, y), class: "past" }));
    const seen = past.length && past.at(-1)[1] !== null ? [past.at(-1)] : [];
    box.append(draw("path", { d: path([...seen, ...steps.map((step) => [step.moment, step[output.name]])], x, y), class: "line" }));
    const dot = draw("circle", { r: 4, class: "dot" });
    box.append(dot);
    const told = document.createElement("p");
    told.className = "told";
    const tell = (step) => {
      const band = banded ? ` (${figure(step[lowest])} to ${figure(step[highest])})` : "";
      told.textContent = `${clock.format(step.moment)}: ${figure(step[output.name])}${band}`;
      dot.setAttribute("cx", x(step.moment));
      dot.setAttribute("cy", y(step[output.name]));
    };
    const nearest = (event) => {
      const scale = width / box.getBoundingClientRect().width;
      const where = (event.clientX - box.getBoundingClientRect().left) * scale;
      tell(steps.reduce((best, step) => (Math.abs(x(step.moment) - where) < Math.abs(x(best.moment) - where) ? step : best)));
    };
    box.addEventListener("pointermove", nearest);
    box.addEventListener("pointerdown", nearest);
    tell(steps[0]);
    const whole = document.createElement("figure");
    const name = document.createElement("figcaption");
    name.textContent = output.name;
    const legend = document.createElement("small");
    legend.textContent = `${banded ? `band: ${output.levels[0]} to ${output.levels.at(-1)}; ` : ""}times in ${data.zone}`;
    name.append(legend);
    whole.append(name, box, told);
    return whole;
  }

  function show() {
    if (!answered) return;
    const prediction = answered.predictions[at("series").selectedIndex] ?? answered.predictions[0];
    const history = answered.history.get(prediction.series) ?? new Map();
    const width = Math.max(260, Math.floor(at("charts").clientWidth));
    at("charts").replaceChildren(...data.outputs.map((output, place) => chart(output, place, prediction, history, width)));
    const names = Object.keys(prediction.forecast[0]).filter((name) => name !== "horizon");
    const line = (tag, texts) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text) => Object.assign(document.createElement(tag), { textContent: text })));
      return row;
    };
    at("table").querySelector("thead").replaceChildren(line("th", names));
    at("table").querySelector("tbody").replaceChildren(
      ...prediction.forecast.map((step) => line("td", names.map((name) => (name === "time" ? clock.format(Date.parse(step.time)) : figure(step[name]))))),
    );
  }

  function outcome({ error = "", answer = null, text = "", meta = "", curl = "" }) {
    at("empty").hidden = true;
    at("error").hidden = !error;
    at("error").textContent = error;
    at("result").hidden = !answer;
    answered = answer && { predictions: answer.predictions, history: observed(text) };
    if (answer) {
      at("series").replaceChildren(...answer.predictions.map(({ series }) => new Option(series)));
      at("pick").hidden = answer.predictions.length < 2;
      show();
    }
    at("meta").hidden = !meta;
    at("meta").textContent = meta;
    at("request").hidden = !curl;
    at("curl").textContent = curl;
    if (window.matchMedia("(max-width: 800px)").matches) at("answer").scrollIntoView({ block: "start" });
  }

  async function forecast() {
    const turn = (asked += 1);
    const button = at("predict");
    const key = at("key");
    const headers = { "Content-Type": "text/csv" };
    if (key && key.value) headers.Authorization = `Bearer ${key.value}`;
    const url = new URL("predict", location.href).href;
    const curl = `curl${key ? " -H 'Authorization: Bearer KEY'" : ""} -H 'Content-Type: text/csv' --data-binary @history.csv ${url}`;
    const text = at("rows").value;
    button.disabled = true;
    at("answer").classList.add("busy");
    let shown;
    try {
      const started = performance.now();
      const response = await fetch(url, { method: "POST", headers, body: text });
      const answer = await response.json();
      const took = performance.now() - started;
      if (response.ok) {
        const odd = Object.entries(answer.counts).filter(([name]) => name !== "rows").map(([name, n]) => `${n} ${name.replaceAll("-", " ")}`);
        const meta = [answer.model, `version ${answer.version}`, `${answer.counts.rows} rows`, ...odd, `${Math.round(took)}\u00a0ms`].join(" · ");
        shown = { answer, text, meta, curl };
      } else {
        const wait = response.headers.get("retry-after");
        shown = { error: `${answer.error}${wait ? ` (again in ${wait} s)` : ""}`, meta: `status ${response.status}`, curl };
      }
    } catch (error) {
      shown = { error: error instanceof TypeError ? "The service cannot be reached." : error.message };
    }
    if (turn !== asked) return;
    button.disabled = false;
    at("answer").classList.remove("busy");
    outcome(shown);
  }

  async function take(file) {
    if (!file) return;
    at("rows").value = await file.text();
    forecast();
  }

  at("file").addEventListener("change", () => take(at("file").files[0]));
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  window.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  at("form").addEventListener("submit", (event) => { event.preventDefault(); forecast(); });
  at("series").addEventListener("change", show);
  at("example").addEventListener("click", () => { at("rows").value = data.example; });
  at("clear").addEventListener("click", () => {
    at("rows").value = "";
    at("file").value = "";
    answered = null;
    for (const id of ["result", "error", "meta", "request"]) at(id).hidden = true;
    at("empty").hidden = false;
  });
  let width = 0;
  new ResizeObserver(() => {
    if (at("charts").clientWidth === width) return;
    width = at("charts").clientWidth;
    show();
  }).observe(at("charts"));
  at("rows").value = data.example;
})();
