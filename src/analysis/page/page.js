"use strict";
// What is shown follows from three things: `episode`, `position` (a step, or between two while it plays) and `playing`.
const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const SIDE = 640, MARGIN = 14, CHART = { width: 640, height: 150, edge: 8 };
const LINES = { network: "#9aa0a8", search: "#22252a", truth: "#2a9d5c" };
const TEXT = "#22252a", QUIET = "#80858c";
let episode = 0, position = 0, playing = false, before = 0;

const now = () => data.episodes[episode];
const last = () => now().steps.length - 1;
const step = () => Math.floor(position);

function element(name, attributes, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const written = value => value === null || value === undefined ? "" :
  Math.abs(value) >= 1000 ? value.toFixed(0) : Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(2);

// ---- the scene ----------------------------------------------------------------------------------------------------

function placing(bounds) {
  const [left, bottom, right, top] = bounds;
  const scale = (SIDE - 2 * MARGIN) / Math.max(right - left, top - bottom);
  const width = scale * (right - left) + 2 * MARGIN, height = scale * (top - bottom) + 2 * MARGIN;
  return { scale, width, height, x: x => MARGIN + scale * (x - left), y: y => MARGIN + scale * (top - y) };
}

function words(x, y, text, size, colour, anchor) {
  return drawn("text", { x, y, fill: colour, "font-size": size, "text-anchor": anchor || "middle",
                         "dominant-baseline": "central" }, text);
}

const drawers = {
  disc(place, [x, y, radius, colour, label, note, health]) {
    const cx = place.x(x), cy = place.y(y), r = Math.max(3, place.scale * radius), made = [];
    if (colour) made.push(drawn("circle", { cx, cy, r, fill: colour }));
    const size = Math.min(22, 1.2 * r);
    if (label && size >= 7) made.push(words(cx, cy, label, size, "#ffffff"));
    if (note) made.push(words(cx, cy + r + 10, note, 13, TEXT));
    if (health !== null) {
      const half = Math.max(r, 10);
      made.push(drawn("rect", { x: cx - half, y: cy - r - 9, width: 2 * half, height: 4.5, rx: 2, fill: "#d5d8dc" }));
      made.push(drawn("rect", { x: cx - half, y: cy - r - 9, width: 2 * half * Math.max(0, health), height: 4.5, rx: 2,
                                fill: colour }));
    }
    return made;
  },
  box(place, [left, bottom, right, top, colour, label, ink, frame]) {
    const x = place.x(left), y = place.y(top), width = place.x(right) - x, height = place.y(bottom) - y;
    const made = [drawn("rect", { x, y, width, height, fill: colour || "none", stroke: frame || "none",
                                  "stroke-width": frame === TEXT ? 3 : 1 })];
    const size = Math.min(24, 0.5 * height, 1.7 * width / Math.max(1, label.length));
    if (label && size >= 5) made.push(words(x + width / 2, y + height / 2, label, size, ink || TEXT));
    return made;
  },
  line(place, [x, y, endX, endY, colour]) {
    return [drawn("line", { x1: place.x(x), y1: place.y(y), x2: place.x(endX), y2: place.y(endY), stroke: colour,
                            "stroke-width": 3, "stroke-linecap": "round" })];
  },
};

// Discs are known again in the next picture by their colour and label, so that they can glide there.
function named(figures) {
  const found = new Map(), count = {};
  for (const figure of figures) {
    if (figure[0] !== "disc") continue;
    const name = `${figure[4]} ${figure[5]}`;
    count[name] = (count[name] || 0) + 1;
    found.set(figure, `${name} ${count[name]}`);
  }
  return found;
}

function between(figures, next, share) {
  const later = new Map([...named(next)].map(([figure, name]) => [name, figure])), mine = named(figures);
  return figures.map(figure => {
    const goal = later.get(mine.get(figure));
    if (!goal) return figure;
    const moved = figure.slice();
    for (const axis of [1, 2]) moved[axis] += share * (goal[axis] - figure[axis]);
    return moved;
  });
}

function drawScene() {
  const frame = now().frames[step()], next = now().frames[step() + 1], share = position - step();
  const scene = at("scene"), place = placing(now().bounds);
  scene.setAttribute("viewBox", `0 0 ${place.width} ${place.height}`);
  const figures = frame.figures || [];
  const shown = share > 0 && next && next.figures ? between(figures, next.figures, share) : figures;
  const made = shown.flatMap(([kind, ...rest]) => drawers[kind](place, rest));
  if (frame.picture)
    made.push(drawn("image", { href: frame.picture, x: 0, y: 0, width: place.width, height: place.height }));
  scene.replaceChildren(...made);
  at("caption").textContent = frame.caption || "";
}

// ---- values -------------------------------------------------------------------------------------------------------

// The lines of the chart: what the network expects, what the search found, and what really came.
function curves() {
  const { value, searchValue, toGo, cutOff } = now(), found = [];
  if (value) {
    const many = value.length && value[0].length > 1;
    for (let i = 0; value.length && i < value[0].length; i++)
      found.push({ name: many ? `value of ${data.agents[i].name}` : "value by the network",
                   colour: many ? data.agents[i].colour : LINES.network, points: value.map(row => row[i]) });
  }
  if (searchValue) found.push({ name: "value by the search", colour: LINES.search, points: searchValue });
  if (found.length)
    found.push({ name: `discounted return that came${cutOff ? " up to the time limit" : ""}`, colour: LINES.truth,
                 points: toGo, dashed: true });
  return found;
}

const across = (i, count) => CHART.edge + (CHART.width - 2 * CHART.edge) * i / Math.max(1, count);

function drawChart() {
  const lines = curves(), chart = at("chart"), count = last();
  at("values").hidden = !lines.length;
  const all = lines.flatMap(line => line.points).filter(value => value !== null);
  const low = Math.min(...all), high = Math.max(...all), room = high - low || 1;
  const up = value => CHART.height - CHART.edge - (CHART.height - 2 * CHART.edge) * (value - low) / room;
  const made = lines.map(line => drawn("polyline", {
    points: line.points.map((value, i) => value === null ? "" : `${across(i, count)},${up(value)}`).join(" "),
    fill: "none", stroke: line.colour, "stroke-width": 2, "vector-effect": "non-scaling-stroke",
    "stroke-dasharray": line.dashed ? "5 4" : "none", "stroke-linejoin": "round" }));
  if (low < 0 && high > 0)
    made.unshift(drawn("line", { x1: 0, x2: CHART.width, y1: up(0), y2: up(0), stroke: "#e3e4e6",
                                 "vector-effect": "non-scaling-stroke" }));
  made.push(drawn("line", { id: "cursor", y1: 0, y2: CHART.height, stroke: TEXT, "stroke-width": 1.5,
                            "vector-effect": "non-scaling-stroke" }));
  chart.replaceChildren(...made);
  at("legend").replaceChildren(...lines.map((line, i) => {
    const entry = element("span"), number = element("b", { id: `curve${i}` });
    entry.append(element("i", { style: `background:${line.colour}` }), `${line.name} `, number);
    return entry;
  }));
  at("least").textContent = lines.length ? `from ${written(low)} to ${written(high)}` : "";
  at("most").textContent = "click to go to a step";
}

function moveCursor() {
  const cursor = at("cursor");
  if (!cursor) return;
  cursor.setAttribute("x1", across(position, last()));
  cursor.setAttribute("x2", across(position, last()));
  curves().forEach((line, i) => { at(`curve${i}`).textContent = written(line.points[step()]); });
}

// ---- agents -------------------------------------------------------------------------------------------------------

function makeAgents() {
  const two = Boolean(now().network);
  at("agents").className = data.agents.some(agent => agent.actions.length > 9) ? "many" : "";
  at("agents").replaceChildren(...data.agents.map((agent, i) => {
    const card = element("article", { class: "card agent", id: `agent${i}` });
    const head = element("h2"), bars = element("div");
    head.append(element("i", { style: `background:${agent.colour}` }), agent.name, element("span", { class: "does" }));
    bars.className = "bars";
    for (const name of agent.actions) {
      const track = element("div", { class: two ? "track two" : "track" });
      track.append(element("span", { class: "played" }));
      if (two) track.append(element("span", { class: "network" }));
      bars.append(element("div", { class: "name", title: name }, name), track, element("div", { class: "share" }));
    }
    const worth = element("div", { class: "worth" });
    worth.hidden = !two && !(now().value && now().value[0].length > 1);  // else there is nothing to say in this line
    worth.append(element("span", { class: "value" }), element("span", { class: "differs" }));
    card.append(head, worth, bars);
    return card;
  }));
  const key = [[TEXT, data.searches ? "policy of the search" : "policy that is played"]];
  if (two) key.push([LINES.network, "policy of the network alone"]);
  if (data.continuous) return at("key").replaceChildren("numbers that each agent plays, from -1 to 1");
  at("key").replaceChildren(...key.map(([colour, text]) => {
    const entry = element("span");
    entry.append(element("i", { style: `background:${colour}` }), text);
    return entry;
  }));
}

const likeliest = row => row.indexOf(Math.max(...row));

function showAgent(i) {
  const { action, policy, network, legal, alive, value } = now(), k = step(), card = at(`agent${i}`);
  const agent = data.agents[i], living = alive[k][i], over = k >= action.length, acts = living && !over;
  card.classList.toggle("dead", !living);
  const chosen = acts && !data.continuous ? action[k][i] : -1;
  card.querySelector(".does").textContent = !living ? "dead" : over ? "" : data.continuous ? "" : agent.actions[chosen];
  const mine = acts && value && value[k].length > 1 ? value[k][i] : null;
  card.querySelector(".value").textContent = mine === null ? "" : `value ${written(mine)}`;
  const other = acts && network && !data.continuous && likeliest(network[k][i]) !== chosen;
  card.querySelector(".differs").textContent = other ? `alone: ${agent.actions[likeliest(network[k][i])]}` : "";
  const rows = [card.querySelectorAll(".name"), card.querySelectorAll(".track"), card.querySelectorAll(".share")];
  agent.actions.forEach((_, a) => {
    const [name, track, share] = rows.map(list => list[a]);
    const spread = policy ? policy[k]?.[i][a] : Number(a === chosen);
    const played = !acts ? 0 : data.continuous ? (action[k][i][a] + 1) / 2 : spread;
    name.classList.toggle("chosen", a === chosen);
    name.classList.toggle("illegal", acts && !legal[k][i][a]);
    const bar = track.querySelector(".played"), alone = track.querySelector(".network");
    bar.style.width = `${100 * Math.min(1, Math.max(0, played))}%`;
    bar.style.background = a === chosen || data.continuous ? agent.colour : agent.pale;
    share.textContent = !acts ? "" : data.continuous ? written(action[k][i][a]) : `${Math.round(100 * played)}%`;
    track.title = acts ? share.textContent : "";
    if (alone) {
      alone.style.width = acts ? `${100 * network[k][i][a]}%` : "0";
      if (acts) track.title += `, alone ${Math.round(100 * network[k][i][a])}%`;
    }
  });
}

// ---- moving -------------------------------------------------------------------------------------------------------

function show() {
  const k = step(), { steps, earned, end } = now();
  drawScene();
  moveCursor();
  data.agents.forEach((_, i) => showAgent(i));
  at("step").value = k;
  at("place").textContent = `${steps[k]} of ${steps[last()]}`;
  at("earned").textContent = written(earned[k]);
  const measures = Object.entries(end).map(([name, value]) => `${name} ${written(value)}`);
  if (k === last() && measures.length) at("caption").textContent = `end: ${measures.join(", ")}`;
}

function go(to) {
  playing = false;
  position = Math.min(last(), Math.max(0, Math.round(to)));
  at("play").textContent = "\u25b6";
  at("play").setAttribute("aria-label", "play");
  show();
}

function play() {
  playing = true;
  at("play").textContent = "\u275a\u275a";
  at("play").setAttribute("aria-label", "pause");
  if (position >= last()) position = 0;
  before = performance.now();
  requestAnimationFrame(tick);
}

function tick(time) {
  if (!playing) return;
  position += Math.max(0, time - before) / 1000 * Number(at("speed").value);
  before = time;
  if (position >= last()) return go(last());
  show();
  requestAnimationFrame(tick);
}

function choose(number) {
  if (!data.episodes[number]) return;
  episode = number;
  at("step").max = last();
  [...at("episodes").children].forEach((button, i) => button.setAttribute("aria-pressed", i === number));
  makeAgents();
  drawChart();
  go(0);
}

function begin() {
  at("title").textContent = data.title;
  at("about").textContent = `${data.player} plays; space plays and pauses, the arrow keys go step by step`;
  at("episodes").replaceChildren(...data.episodes.map((each, i) => {
    const button = element("button", { type: "button" }, `episode ${i + 1}`);
    button.append(element("small", {}, written(each.earned[each.earned.length - 1])));
    button.addEventListener("click", () => choose(i));
    return button;
  }));
  const toggle = () => playing ? go(position) : play();
  at("play").addEventListener("click", toggle);
  at("step").addEventListener("input", event => go(Number(event.target.value)));
  at("chart").addEventListener("click", event => {
    const box = at("chart").getBoundingClientRect(), x = (event.clientX - box.left) / box.width * CHART.width;
    go((x - CHART.edge) / (CHART.width - 2 * CHART.edge) * last());
  });
  document.addEventListener("keydown", event => {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") toggle();
    else if (event.key in moves) go(step() + moves[event.key]);
    else return;
    event.preventDefault();
  });
  choose(0);
}

begin();
