"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("form");
  const at = (id) => document.getElementById(id);
  const controls = data.inputs.map((_, index) => form.querySelector(`[data-index="${index}"]`));
  const pictures = new Map(); // index -> File
  const previews = new Map(); // index -> object URL
  const SHOWN = 6;
  let asked = 0;

  // Dates: the browser speaks ISO 8601; the model may have learned from another spelling.
  function formatted(iso, format) {
    if (!format) return iso;
    const [day, clock = "00:00:00"] = iso.split("T");
    const [year, month, date] = day.split("-");
    const [hour, minute, second = "00"] = clock.split(":");
    const parts = { Y: year, y: year.slice(-2), m: month, d: date, H: hour, M: minute, S: second.slice(0, 2), f: "000000" };
    return format.replace(/%([A-Za-z%])/g, (whole, letter) => (letter === "%" ? "%" : parts[letter] ?? whole));
  }

  function isoDate(text, format, withTime) {
    let found = null;
    if (format) {
      const names = [];
      const escaped = format.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const pattern = escaped.replace(/%([A-Za-z])/g, (_, letter) => { names.push(letter); return "(\\d+)"; });
      const match = new RegExp(`^${pattern}$`).exec(text);
      if (match) found = Object.fromEntries(names.map((name, n) => [name, match[n + 1]]));
    }
    if (!found) {
      const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?/.exec(text);
      if (!match) return "";
      found = { Y: match[1], m: match[2], d: match[3], H: match[4], M: match[5], S: match[6] };
    }
    const year = found.Y ?? (found.y ? `20${found.y}` : "");
    if (!year || !found.m || !found.d) return "";
    const day = `${year}-${found.m.padStart(2, "0")}-${found.d.padStart(2, "0")}`;
    return withTime ? `${day}T${found.H ?? "00"}:${found.M ?? "00"}:${found.S ?? "00"}` : day;
  }

  function value(index) {
    const { kind, dateFormat } = data.inputs[index];
    const control = controls[index];
    if (control.value === "") {
      if (control.validity && control.validity.badInput) throw new Error(`${data.inputs[index].name}: this is not a number`);
      const option = control.selectedOptions && control.selectedOptions[0];
      return option && !("missing" in option.dataset) ? "" : null;
    }
    if (kind === "number" || kind === "integer") return Number(control.value);
    if (kind === "boolean") return control.value === "true";
    if (kind === "date") return formatted(control.value, dateFormat);
    return control.value;
  }

  function fill(values) {
    data.inputs.forEach(({ name, kind, dateFormat }, index) => {
      const control = controls[index];
      if (kind === "image") return;
      const given = values[name];
      if (given === null || given === undefined) control.value = "";
      else if (kind === "date") control.value = isoDate(String(given), dateFormat, control.type === "datetime-local");
      else control.value = String(given);
    });
  }

  function show(index, file) {
    const drop = controls[index].closest(".drop");
    const image = drop.querySelector("img");
    const name = drop.querySelector(".file-name");
    if (previews.has(index)) URL.revokeObjectURL(previews.get(index));
    previews.delete(index);
    if (file) {
      pictures.set(index, file);
      const url = URL.createObjectURL(file);
      previews.set(index, url);
      image.onload = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < 160);
      image.onerror = () => { image.hidden = true; };
      image.src = url;
      image.alt = file.name;
      name.textContent = `${file.name} · ${Math.max(1, Math.round(file.size / 1024)).toLocaleString()} KB`;
    } else {
      pictures.delete(index);
      image.removeAttribute("src");
      controls[index].value = "";
    }
    image.hidden = name.hidden = !file;
    drop.querySelector(".invite").hidden = Boolean(file);
  }

  const base64 = (file) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => reject(new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });

  async function request() {
    const headers = {};
    const key = at("key");
    if (key && key.value) headers.Authorization = `Bearer ${key.value}`;
    const secret = key ? " -H 'Authorization: Bearer KEY'" : "";
    const url = new URL("predict", location.href).href;
    const images = data.inputs.flatMap((input, index) => (input.kind === "image" ? [index] : []));
    for (const index of images) {
      if (!pictures.has(index)) throw new Error(`Choose a picture for ${data.inputs[index].name} first.`);
    }
    if (images.length === 1 && data.inputs.length === 1) {
      const file = pictures.get(images[0]);
      const body = new FormData();
      body.append("file", file, file.name);
      return { url, options: { method: "POST", headers, body }, curl: `curl${secret} -F 'file=@${file.name}' ${url}` };
    }
    const row = {};
    for (let index = 0; index < data.inputs.length; index += 1) {
      const { name, kind } = data.inputs[index];
      row[name] = kind === "image" ? await base64(pictures.get(index)) : value(index);
    }
    headers["Content-Type"] = "application/json";
    const shown = JSON.stringify({ rows: [row] }, (_, part) => (typeof part === "string" && part.length > 200 ? `${part.slice(0, 24)}…` : part));
    const quoted = shown.replaceAll("'", "'\\''");
    return {
      url,
      options: { method: "POST", headers, body: JSON.stringify({ rows: [row] }) },
      curl: `curl${secret} -H 'Content-Type: application/json' -d '${quoted}' ${url}`,
    };
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`);

  function bars(probabilities) {
    const sorted = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
    const box = element("div", "bars");
    const add = ([label, share], rank) => {
      const bar = element("div", rank === 0 ? "bar first" : "bar");
      const track = element("span", "track");
      const inner = element("i");
      inner.style.width = `${share * 100}%`;
      track.append(inner);
      bar.append(element("span", "label", label), element("span", "share", percent(share)), track);
      box.append(bar);
    };
    sorted.slice(0, SHOWN).forEach(add);
    if (sorted.length <= SHOWN) return [box];
    const more = element("button", "more", `Show all ${sorted.length} classes`);
    more.type = "button";
    more.onclick = () => { sorted.slice(SHOWN).forEach((entry) => add(entry, SHOWN)); more.remove(); };
    return [box, more];
  }

  function draw(prediction) {
    const parts = [];
    for (const output of data.outputs) {
      const answer = prediction[output.name];
      const verdict = element("div", "verdict");
      verdict.append(element("p", "name", output.name));
      const number = output.kind === "regression" && typeof answer === "number";
      const text = number ? answer.toLocaleString("en", { maximumSignificantDigits: 6 }) : String(answer);
      verdict.append(element("p", "value", text));
      parts.push(verdict);
      if (output.kind === "classification" && prediction.probabilities) parts.push(...bars(prediction.probabilities));
    }
    at("result").replaceChildren(...parts);
  }

  function outcome({ error = "", prediction = null, meta = "", curl = "" }) {
    at("empty").hidden = true;
    at("error").hidden = !error;
    at("error").textContent = error;
    at("result").hidden = !prediction;
    if (prediction) draw(prediction);
    at("meta").hidden = !meta;
    at("meta").textContent = meta;
    at("request").hidden = !curl;
    at("curl").textContent = curl;
    if (window.matchMedia("(max-width: 800px)").matches) at("answer").scrollIntoView({ block: "start" });
  }

  async function predict() {
    const turn = (asked += 1);
    const button = at("predict");
    button.disabled = true;
    at("answer").classList.add("busy");
    let shown;
    try {
      const { url, options, curl } = await request();
      const started = performance.now();
      const response = await fetch(url, options);
      const answer = await response.json();
      const took = performance.now() - started;
      if (response.ok) {
        const latency = took < 10 ? took.toFixed(1) : Math.round(took);
        shown = { prediction: answer.predictions[0], meta: `${answer.model} · version ${answer.version} · ${latency}\u00a0ms`, curl };
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

  data.inputs.forEach(({ kind }, index) => {
    if (kind !== "image") return;
    const drop = controls[index].closest(".drop");
    const take = (file) => {
      if (!file) return;
      show(index, file);
      if (data.inputs.length === 1) predict();
    };
    controls[index].addEventListener("change", () => take(controls[index].files[0]));
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  });
  // A picture dropped beside its place must not make the browser leave the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

  form.addEventListener("submit", (event) => { event.preventDefault(); predict(); });
  at("clear").addEventListener("click", () => {
    fill({});
    for (const index of [...pictures.keys()]) show(index, null);
    for (const id of ["result", "error", "meta", "request"]) at(id).hidden = true;
    at("empty").hidden = false;
  });
  const example = at("example");
  if (example) example.addEventListener("click", () => fill(data.examples));
  fill(data.examples);
})();
