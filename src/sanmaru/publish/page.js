"use strict";
(() => {
  const root = document.documentElement;
  const state = JSON.parse(document.getElementById("state").textContent);
  const byId = (id) => document.getElementById(id);
  const keep = {
    get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
    set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* a file may have no storage */ } },
  };
  for (const part of document.querySelectorAll(".script")) part.hidden = false;
  for (const part of document.querySelectorAll(".unscripted")) part.hidden = true;

  // Light or dark, as reports do.
  if (keep.get("sanmaru-theme")) root.dataset.theme = keep.get("sanmaru-theme");
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep.set("sanmaru-theme", root.dataset.theme);
  });

  // Stale data and an old model are said when they become so, even if nobody makes a new page.
  const age = () => {
    const now = state.live ? Date.now() : Date.parse(state.generated_at);
    const passed = (moment) => moment !== null && now >= Date.parse(moment);
    if (state.freshness.stale_at) byId("stale").hidden = !passed(state.freshness.stale_at);
    if (byId("old")) byId("old").hidden = !passed(state.model.old_at);
  };
  age();
  setInterval(age, 60000);

  // Language: the address first, then the reader's last choice, then the page's own.
  let language = state.language;
  const speak = (code, chosen) => {
    language = code;
    byId("lang-" + code).checked = true;
    root.lang = code;
    document.title = state.title[code];
    for (const option of byId("pick").options) option.textContent = option.dataset[code];
    if (chosen) keep.set("sanmaru-language", code);
    paint();
  };
  const asked = new URLSearchParams(location.search).get("lang");
  const known = (code) => code === "en" || code === "ko";
  for (const code of ["en", "ko"]) byId("lang-" + code).addEventListener("change", () => speak(code, true));

  const clock = (moment) => new Intl.DateTimeFormat(language === "ko" ? "ko-KR" : "en-GB", {
    timeZone: state.zone, month: language === "ko" ? "long" : "short", day: "numeric", weekday: "short",
    hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(moment);
  const shown = (value, digits) => {
    if (value === null || value === undefined) return "–";
    const text = (Math.floor(value * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  };
  const grade = (value, target) => value === null || value === undefined || !target.limits ? null
    : state.grades[target.limits.filter((limit) => Math.floor(value + 0.5) > limit).length];
  const at = (part, name, moment) => {
    const values = part && part.values[name];
    if (!values) return null;
    const place = (moment - Date.parse(part.start)) / 1000 / part.step_s;
    return Math.abs(place - Math.round(place)) < 1e-6 ? values[Math.round(place)] ?? null : null;
  };

  // The overview: one quantity at one hour, observed or forecast.
  const places = [...document.querySelectorAll(".place")];
  const paint = () => {
    if (!places.length) return;
    const number = Number(document.querySelector("input[name=target]:checked").value);
    const target = state.targets[number];
    const hours = Number(byId("hour").value);
    const step = state.series.find((one) => one.observed)?.observed.step_s ?? 3600;
    const moment = state.freshness.last === null ? null : Date.parse(state.freshness.last) + hours * step * 1000;
    byId("shown").textContent = target.label[language];
    byId("unit").textContent = target.unit;
    byId("hour-shown").textContent = moment === null ? "–" : clock(moment);
    byId("hour").setAttribute("aria-valuetext", byId("hour-shown").textContent);
    for (const line of document.querySelectorAll(".key > li")) line.hidden = line.dataset.target !== String(number);
    for (const tile of places) {
      const series = state.series[Number(tile.dataset.place)];
      const value = moment === null ? null : at(hours ? series.forecast : series.observed, target.name, moment);
      const found = grade(value, target);
      for (const one of state.grades) tile.classList.toggle(one.name, found === one);
      tile.classList.toggle("none", found === null);
      tile.querySelector("b").textContent = shown(value, target.digits);
      tile.querySelector(".word").textContent = found ? found[language] : "";
    }
  };
  for (const control of document.querySelectorAll("input[name=target], #hour")) control.addEventListener("input", paint);

  // One district at a time; its address can be kept and sent.
  const districts = [...document.querySelectorAll(".district")];
  const pick = (place, scroll) => {
    districts.forEach((one, index) => { one.hidden = index !== place; });
    places.forEach((tile, index) => index === place ? tile.setAttribute("aria-current", "true") : tile.removeAttribute("aria-current"));
    byId("pick").value = String(place);
    keep.set("sanmaru-district", state.series[place].id);
    if (scroll) { districts[place].focus({ preventScroll: true }); byId("districts").scrollIntoView(); }
  };
  const fromHash = () => {
    const found = /^#s-(\d+)$/.exec(location.hash);
    return found && Number(found[1]) < districts.length ? Number(found[1]) : -1;
  };
  addEventListener("hashchange", () => { if (fromHash() >= 0) pick(fromHash(), true); });
  byId("pick").addEventListener("change", (event) => {
    history.replaceState(null, "", "#s-" + event.target.value);
    pick(Number(event.target.value), false);
  });
  const last = state.series.findIndex((one) => one.id === keep.get("sanmaru-district"));
  pick(Math.max(fromHash(), last, 0) === 0 ? 0 : fromHash() >= 0 ? fromHash() : last, false);

  // Pointing at a chart tells the hour's values.
  const tip = byId("tip");
  const words = { en: { observed: "observed", forecast: "forecast", earlier: "yesterday's forecast" },
                  ko: { observed: "관측", forecast: "예보", earlier: "어제 예보" } };
  const point = (event) => {
    const chart = event.target instanceof Element ? event.target.closest("svg.band[data-x0]") : null;
    for (const line of document.querySelectorAll(".cross")) if (!chart || !chart.contains(line)) line.setAttribute("visibility", "hidden");
    tip.hidden = !chart;
    if (!chart) return;
    const box = chart.getBoundingClientRect();
    const scale = chart.viewBox.baseVal.width / box.width;
    const [x0, x1, t0, t1] = ["x0", "x1", "t0", "t1"].map((name) => Number(chart.dataset[name]));
    const series = state.series[Number(chart.closest(".district").dataset.place)];
    const target = state.targets.find((one) => one.name === chart.closest(".target").dataset.target);
    const step = (series.observed ?? series.forecast ?? series.earlier).step_s;
    const share = Math.min(1, Math.max(0, ((event.clientX - box.left) * scale - x0) / (x1 - x0)));
    const moment = (t0 + Math.round(share * (t1 - t0) / step) * step) * 1000;
    const lines = [clock(moment)];
    for (const part of ["observed", "forecast", "earlier"]) {
      const value = at(series[part], target.name, moment);
      if (value === null) continue;
      const [low, high] = ["q10", "q90"].map((end) => at(series[part], target.name + "." + end, moment));
      const band = low === null || high === null ? "" : ` (${shown(low, target.digits)}–${shown(high, target.digits)})`;
      const found = grade(value, target);
      lines.push(`${words[language][part]}: ${shown(value, target.digits)}${band}${found ? " " + found[language] : ""}`);
    }
    const line = chart.querySelector(".cross");
    const x = x0 + (moment / 1000 - t0) / (t1 - t0) * (x1 - x0);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.setAttribute("visibility", "visible");
    tip.textContent = lines.join("\n");
    const size = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - size.width - 8)) + "px";
    tip.style.top = Math.max(8, box.top - size.height - 4) + "px";
  };
  for (const name of ["pointermove", "pointerdown"]) addEventListener(name, point, { passive: true });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  speak(known(asked) ? asked : known(keep.get("sanmaru-language")) ? keep.get("sanmaru-language") : state.language, known(asked));
})();
