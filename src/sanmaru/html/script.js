"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const keep = { get: () => { try { return localStorage.getItem("sanmaru-theme"); } catch { return null; } },
                 set: (value) => { try { localStorage.setItem("sanmaru-theme", value); } catch { /* a file may have no storage */ } } };
  if (keep.get()) root.dataset.theme = keep.get();
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep.set(root.dataset.theme);
  });

  const tip = document.getElementById("tip");
  const show = (event) => {
    const mark = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = tip.getBoundingClientRect();
    const x = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const y = event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18;
    tip.style.left = Math.max(8, x) + "px";
    tip.style.top = Math.max(8, y) + "px";
  };
  for (const name of ["pointermove", "pointerdown"]) addEventListener(name, show, { passive: true });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
    : typeof a !== typeof b ? (typeof a === "number" ? -1 : 1) : a.localeCompare(b, undefined, { numeric: true });
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0];
    if (body.rows.length < 3) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const control = document.createElement("button");
      control.type = "button";
      control.textContent = head.textContent;
      head.replaceChildren(control);
      control.addEventListener("click", () => {
        const numbers = head.classList.contains("num");
        const down = head.ariaSort ? head.ariaSort === "ascending" : numbers;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
        body.append(...rows);
      });
    });
  }

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
  const strip = document.querySelector("nav");
  let current = null;
  const mark = () => {
    let found = null;
    for (const id of links.keys()) {
      const section = document.getElementById(id);
      if (section && section.getBoundingClientRect().top < 140) found = id;
    }
    if (innerHeight + scrollY >= document.body.scrollHeight - 4 && scrollY > 0) found = [...links.keys()].pop();
    found ??= links.keys().next().value;
    if (found === current) return;
    current = found;
    links.forEach((a, id) => id === found ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current"));
    const a = links.get(found);
    if (a && strip.scrollWidth > strip.clientWidth) strip.scrollTo({ left: a.offsetLeft - 40 });
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
})();
