// The page's own script: live parts, charts, keys, chat. The page is complete without it, but for the chat.
"use strict";
const $ = (id) => document.getElementById(id);
const all = (what, root = document) => [...root.querySelectorAll(what)];
const FOCUSABLE = "a, button, input, select, summary";

// --- live parts ---
function replace(part) {
  const target = $(part.id);
  if (!target || target.dataset.v === part.v || target.querySelector("details[open]")) return;
  const held = all(FOCUSABLE, target).indexOf(document.activeElement);
  target.innerHTML = part.html;
  target.dataset.v = part.v;
  if (held >= 0) all(FOCUSABLE, target)[held]?.focus();
  all(".chart", target).forEach(chart);
  all("[data-load]", target).forEach(load);
}
function say(text) { $("said").textContent = text; }
if (document.body.dataset.live) {
  const source = new EventSource(document.body.dataset.live);
  const dot = $("live");
  source.onopen = () => dot?.classList.remove("off");
  source.onerror = () => dot?.classList.add("off");
  source.onmessage = (event) => {
    const part = JSON.parse(event.data);
    if (part.say) say(part.say); else replace(part);
  };
  source.addEventListener("end", () => source.close());
}

// --- charts: one hover line through all charts of a card, arrow keys move it ---
function chart(box) {
  if (box.dataset.ready) return;
  box.dataset.ready = "1";
  const data = JSON.parse(box.dataset.chart);
  const line = document.createElement("div"), note = document.createElement("div");
  line.className = "hover-line"; note.className = "hover-box"; line.hidden = note.hidden = true;
  box.append(line, note);
  const steps = [...new Set(data.series.flatMap((one) => one.points.map((p) => p[0])))].sort((a, b) => a - b);
  let at = -1;
  function show(index) {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const drawing = all("svg", box).find((one) => one.clientWidth > 0), step = steps[at];
    const [left, right, top, bottom] = drawing.dataset.area.split(",").map(Number), [x0, x1] = data.range;
    const x = left + (step - x0) / ((x1 - x0) || 1) * (right - left);
    const rows = data.series.map((one) => [one.name, one.points.findLast((p) => p[0] <= step)])
      .filter((row) => row[1]).sort((a, b) => a[1][1] - b[1][1]);
    note.replaceChildren(...[[`${data.axis} ${step.toLocaleString("en")}`, null], ...rows].map(([name, point]) => {
      const row = document.createElement("div"), first = document.createElement("span"), last = document.createElement("b");
      first.textContent = name; last.textContent = point ? point[1].toFixed(3) : "";
      row.append(first, last); return row;
    }));
    line.hidden = note.hidden = false;
    Object.assign(line.style, { left: `${x}px`, top: `${top}px`, height: `${bottom - top}px` });
    note.style.top = `${top}px`;
    note.style.left = `${x + 12 + note.offsetWidth > box.clientWidth ? Math.max(0, x - 12 - note.offsetWidth) : x + 12}px`;
    box.setAttribute("aria-valuetext", note.innerText.replaceAll("\n", ", "));
    box.setAttribute("aria-valuenow", step);
  }
  box.addEventListener("pointermove", (event) => {
    const area = all("svg", box).find((one) => one.clientWidth > 0).dataset.area.split(",").map(Number);
    const share = (event.clientX - box.getBoundingClientRect().left - area[0]) / (area[1] - area[0]);
    const step = data.range[0] + share * (data.range[1] - data.range[0]);
    show(steps.reduce((best, one, k) => Math.abs(one - step) < Math.abs(steps[best] - step) ? k : best, 0));
  });
  const hide = () => { line.hidden = note.hidden = true; };
  box.addEventListener("pointerleave", hide);
  box.addEventListener("blur", hide);
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!by) return;
    event.preventDefault();
    show(at < 0 ? (by < 0 ? steps.length - 1 : 0) : at + by);
  });
}
all(".chart").forEach(chart);

// --- keys ---
const rows = () => all("tr.job");
let row = -1;
const picked = new Set();
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return all("details.confirm[open]").forEach((one) => { one.open = false; one.firstChild.focus(); });
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && $("find")) { event.preventDefault(); $("find").focus(); }
  if ((event.key === "j" || event.key === "k") && rows().length) {
    row = Math.max(0, Math.min(rows().length - 1, row + (event.key === "j" ? 1 : -1)));
    const link = rows()[row].querySelector(".name");
    link.focus(); link.scrollIntoView({ block: "nearest" });
  }
  const here = document.activeElement?.closest("tr.job");
  if (event.key === "x" && here) {
    const on = here.classList.toggle("picked"), id = here.id.slice(4);
    if (on) picked.add(id); else picked.delete(id);
    say(`${picked.size} picked to compare`);
  }
  if (event.key === "c" && picked.size) location.href = `/compare?${[...picked].map((id) => `job=${id}`).join("&")}`;
});

// --- small things ---
$("theme")?.addEventListener("click", () => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const next = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  root.dataset.theme = next; localStorage.setItem("theme", next);
});
document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) navigator.clipboard.writeText(copy.dataset.copy).then(() => { copy.textContent = "Copied"; say("Copied"); });
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "ask") return ask(event);
  setTimeout(() => all("button", event.target).forEach((one) => { one.disabled = true; }));
});
async function load(box) {
  const answer = await fetch(box.dataset.load);
  if (answer.ok) box.innerHTML = await answer.text();
}
all("[data-load]").forEach(load);
document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-into]");
  if (!link) return;
  event.preventDefault();
  const answer = await fetch(link.href);
  if (answer.ok) $(link.dataset.into).outerHTML = await answer.text();
});

// --- chat: base beside tuned, as the pieces come ---
async function ask(event) {
  event.preventDefault();
  const form = event.target, sent = form.querySelector("button");
  const answers = { base: $("answer-base"), tuned: $("answer-tuned") }, notes = { base: $("note-base"), tuned: $("note-tuned") };
  for (const who of ["base", "tuned"]) { answers[who].textContent = ""; notes[who].textContent = "waiting"; }
  $("asked").textContent = form.elements.message.value;
  sent.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      const events = (rest + step.value).split("\n\n");
      rest = events.pop();
      for (const one of events) {
        const { who, text, note } = JSON.parse(one.slice(6));
        if (text) answers[who].textContent += text;
        if (note) notes[who].textContent = note;
      }
    }
    say("Both have answered");
  } catch (error) {
    for (const one of Object.values(notes)) if (one.textContent === "waiting") one.textContent = `No answer: ${error.message}`;
  } finally { sent.disabled = false; }
}

// What needs this script is shown only where it runs.
document.documentElement.dataset.ready = "yes";
