// Keeps a page that is open up to date, and reads charts aloud. One tab of a browser holds the stream of events, under a
// lock; all tabs hear from it that something changed, and fetch their own parts anew.
"use strict";

const state = document.getElementById("live-state");
const channel = new BroadcastChannel("kashi");
const seconds = (name) => Number(state.dataset[name]) * 1000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let lostSince = null;
const daysRead = new Map(); // by chart: a part that is swapped shows its day again
const nameOf = (plot) => plot.getAttribute("aria-labelledby");

if (state) {
  channel.onmessage = (message) => hear(message.data);
  navigator.locks.request("kashi-events", follow);
  show("live");
}
readyCharts(document);
document.addEventListener("pointermove", point);
document.addEventListener("keydown", step);

// Tell all tabs, this one too.
function tell(what) {
  channel.postMessage(what);
  hear(what);
}

function hear(what) {
  if (what === "changed") refreshSoon();
  else show(what);
}

// Holds the stream for ever: when this tab is closed, another one gets the lock.
async function follow() {
  let last = "";
  for (;;) {
    tell("changed"); // whatever happened while nobody listened
    last = await read(last);
    tell("lost");
    await pause(seconds("retry"));
  }
}

// Read the stream until it ends or falls silent; returns the id of the last event.
async function read(last) {
  const ending = new AbortController();
  let alarm = 0;
  const watch = () => {
    clearTimeout(alarm);
    alarm = setTimeout(() => ending.abort(), seconds("silence"));
  };
  try {
    watch();
    const headers = last ? { "Last-Event-ID": last } : {};
    const answer = await fetch("/events", { headers, signal: ending.signal });
    if (answer.status === 401) return tell("again"), last;
    if (!answer.ok) return last;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return last;
      watch();
      tell("live");
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("id: ")) last = line.slice(4);
        if (line.startsWith("data:")) tell("changed");
      }
    }
  } catch {
    return last;
  } finally {
    clearTimeout(alarm);
  }
}

// Say how the connection is; times are Beijing's.
function show(what) {
  if (state.dataset.is === "again" || state.dataset.is === what) return;
  state.dataset.is = what;
  if (what === "lost" && lostSince === null) lostSince = new Date();
  if (what === "live") lostSince = null;
  const zone = { timeZone: "Asia/Shanghai", hour: "2-digit", minute: "2-digit", hour12: false };
  const time = lostSince ? lostSince.toLocaleTimeString("en-GB", zone) : "";
  state.textContent = state.dataset[what].replace("{time}", time);
}

// Once a second at most, and never while an answer is awaited.
let isWanted = false;
let isRefreshing = false;
let refreshed = 0;
async function refreshSoon() {
  isWanted = true;
  if (isRefreshing) return;
  isRefreshing = true;
  while (isWanted) {
    await pause(Math.max(0, refreshed + 1000 - Date.now()));
    isWanted = false;
    refreshed = Date.now();
    try {
      await refresh();
    } catch {
      // The stream says what is wrong.
    }
  }
  isRefreshing = false;
}

async function refresh() {
  const url = new URL(location.href);
  url.searchParams.set("part", "live");
  const answer = await fetch(url);
  if (answer.status === 401) return show("again");
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const fresh of page.querySelectorAll("[data-part]")) {
    const old = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
    if (old && written(old) !== written(fresh)) swap(old, document.adoptNode(fresh));
  }
}

// A part as the server wrote it: what a reader opened, and what is marked, is no change.
function written(part) {
  const copy = part.cloneNode(true);
  for (const each of copy.querySelectorAll("details[open]")) each.removeAttribute("open");
  for (const each of copy.querySelectorAll(".new")) each.classList.remove("new");
  for (const each of copy.querySelectorAll(".cross, .reading")) each.remove();
  for (const each of copy.querySelectorAll(".plot")) each.removeAttribute("tabindex");
  return copy.innerHTML.replaceAll(' class=""', "");
}

// Put a new part in the place of an old one; focus, open details and scrolling stay.
function swap(old, fresh) {
  const places = "a[href], summary, input, select, button, .plot";
  const focused = [...old.querySelectorAll(places)].indexOf(document.activeElement);
  const open = [...old.querySelectorAll("details")].map((each) => each.open);
  const rows = new Set([...old.querySelectorAll("tr[data-key]")].map((row) => row.dataset.key));
  const scrolled = window.scrollY;
  old.replaceWith(fresh);
  readyCharts(fresh);
  fresh.querySelectorAll("details").forEach((each, place) => (each.open = open[place] || false));
  if (focused >= 0) fresh.querySelectorAll(places)[focused]?.focus({ preventScroll: true });
  window.scrollTo(window.scrollX, scrolled);
  const added = [...fresh.querySelectorAll("tr[data-key]")].filter((row) => !rows.has(row.dataset.key));
  for (const row of added) row.classList.add("new");
  setTimeout(() => added.forEach((row) => row.classList.remove("new")), 4000);
  announce(fresh);
}

// Say a new figure aloud, every half a minute at most.
let announced = 0;
function announce(part) {
  const figure = part.querySelector("[data-announce]");
  if (!figure || Date.now() < announced + 30000) return;
  announced = Date.now();
  document.getElementById("announcement").textContent = figure.dataset.announce;
}

// Charts: a line over the day at which one points, or that the arrows come to, and below the chart
// what its table says of that day.
function readyCharts(within) {
  for (const plot of within.querySelectorAll(".chart .plot")) {
    plot.setAttribute("tabindex", "0");
    const reading = document.createElement("p");
    reading.className = "reading";
    reading.setAttribute("role", "status");
    plot.after(reading);
    const day = daysRead.get(nameOf(plot));
    if (day !== undefined) readDay(plot, day);
  }
}

function point(event) {
  const plot = event.target.closest?.(".chart .plot");
  if (!plot) return;
  const box = plot.getBoundingClientRect();
  const days = Number(plot.parentElement.dataset.days);
  readDay(plot, Math.floor(((event.clientX - box.left) / box.width) * days));
}

function step(event) {
  const plot = event.target;
  if (!plot.matches?.(".chart .plot")) return;
  const days = [...rowsOf(plot).keys()];
  const now = days.indexOf(daysRead.get(nameOf(plot)));
  const last = days.length - 1;
  const next = {
    ArrowLeft: now < 0 ? last : Math.max(0, now - 1),
    ArrowRight: Math.min(last, now + 1),
    Home: 0,
    End: last,
  }[event.key];
  if (next === undefined || last < 0) return;
  event.preventDefault();
  readDay(plot, days[next]);
}

// The rows of a chart's table by the place of their day.
function rowsOf(plot) {
  const rows = new Map();
  let place = -1;
  for (const row of plot.parentElement.querySelectorAll("tbody tr")) {
    place = "place" in row.dataset ? Number(row.dataset.place) : place + 1;
    rows.set(place, row);
  }
  return rows;
}

// Show the row of a day, or of the nearest one that has a row.
function readDay(plot, wanted) {
  const rows = rowsOf(plot);
  if (!rows.size) return;
  const far = (day) => Math.abs(day - wanted);
  const day = [...rows.keys()].reduce((one, other) => (far(other) < far(one) ? other : one));
  daysRead.set(nameOf(plot), day);
  let line = plot.querySelector(".cross");
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cross");
    line.setAttribute("y1", "6%");
    line.setAttribute("y2", "90%");
    plot.append(line);
  }
  const x = `${((day + 0.5) / Number(plot.parentElement.dataset.days)) * 100}%`;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  const names = [...plot.parentElement.querySelectorAll("thead th")].map((th) => th.textContent);
  const [date, ...figures] = [...rows.get(day).children].map((cell) => cell.textContent);
  const told = figures.map((figure, place) => figure && `${names[place + 1]} ${figure}`);
  plot.parentElement.querySelector(".reading").textContent = [date, ...told.filter(Boolean)].join(" · ");
}
