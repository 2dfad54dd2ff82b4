// The page's choice of a week and a slice, kept in the address: headline, charts and tables follow it.
//
// Names are set as text and never as HTML. Numbers are those of `page.py`; nothing is measured here but averages of
// seven days.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const NOTHING = "–";
const UNITS = { s: "seconds", min: "minutes", h: "hours", d: "days" };
const placeOf = (name) => data.measures.findIndex((measure) => measure.name === name);
const chosen = { week: data.first, slice: 0 };
const order = {}; // of each table: the column, -1 for the labels, and 1 for ascending or -1
let drawn = [];

// Text of numbers, the same as in Python, where a number that lies in the middle is rounded to the even one.

function fixed(value, digits) {
  const text = value.toFixed(digits);
  const isMiddle = (value * 2 * 2 ** digits) % 2 === 1;
  return isMiddle && text.at(-1) % 2 ? (value - 0.1 * 10 ** -digits).toFixed(digits) : text;
}

function unitOf(seconds) {
  if (seconds < 100) return ["s", 1];
  if (seconds < 6000) return ["min", 60];
  return seconds < 48 * 3600 ? ["h", 3600] : ["d", 86400];
}

function written(kind, value) {
  if (value === null || value === undefined) return NOTHING;
  if (kind === "share") return `${fixed(value * 100, 0)} %`;
  if (kind === "count") return Math.round(value).toLocaleString("en");
  if (kind === "average") return fixed(value, 1);
  const [unit, size] = unitOf(value);
  return `${fixed(value / size, value / size >= 9.95 ? 0 : 1)} ${unit}`;
}

// The choice, and its address: #week=2025-03-24&channel=email

function address(week, slice) {
  const parts = new URLSearchParams({ week: data.weeks[week].start });
  if (slice) parts.set(data.slices[slice][0], data.slices[slice][1]);
  return `#${parts}`;
}

function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const week = data.weeks.findIndex((one) => one.start === parts.get("week") && one.days);
  const slice = data.slices.findIndex(([dimension, key]) => parts.get(dimension) === key);
  chosen.week = week < 0 ? data.first : week;
  chosen.slice = Math.max(slice, 0);
}

function choose(week, slice) {
  const wanted = address(week, slice);
  if (location.hash !== wanted) location.hash = wanted; // which shows it
}

const nextWeek = (step) => {
  let week = chosen.week + step;
  while (data.weeks[week] && !data.weeks[week].days) week += step;
  return data.weeks[week] ? week : null;
};

// Headline

function made(name, text, attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function showHeadline() {
  const { week, slice } = chosen;
  const figures = data.headline.map(({ measure, label, better, changes }) => {
    const change = changes[week][slice];
    const sign = { "+": 1, "−": -1 }[change[0]] ?? 0;
    const verdict = ["worse", "", "better"][sign * better + 1];
    const number = written(data.measures[measure].kind, data.weekly[slice][measure][week]);
    const box = made("div", "");
    box.append(made("dt", label), made("dd", number, { class: "number" }), made("dd", change, { class: `change ${verdict}` }));
    return box;
  });
  find("headline").replaceChildren(...figures);
  const { title, state } = data.weeks[week];
  document.title = `Support, ${title}`;
  find("title").textContent = title;
  find("of").textContent = data.slices[slice][2];
  find("state").textContent = state && `\u00a0· ${state}`;
  find("week").value = week;
  find("slice").value = slice;
  find("earlier").disabled = nextWeek(-1) === null;
  find("later").disabled = nextWeek(1) === null;
}

// Tables

function rowsOf(name) {
  const { week, slice } = chosen;
  if (name === "day") {
    const days = [...Array(7).keys()].map((day) => 7 * week + day).filter((day) => data.known[day]);
    return days.map((day) => ({ place: day, label: data.days[day], numbers: data.daily[slice].map((one) => one[day]) }));
  }
  const rows = slice
    ? data.shared
        .filter(([of, one, other]) => of === week && (one === slice || other === slice))
        .map(([, one, other, ...numbers]) => ({ place: one === slice ? other : one, numbers }))
    : data.weekly.map((measures, place) => ({ place, numbers: measures.map((one) => one[week]) }));
  return rows
    .filter(({ place, numbers }) => data.slices[place][0] === name && numbers.some((number) => number))
    .map((row) => ({ ...row, label: data.slices[row.place][2], isSlice: true }))
    .sort((one, other) => one.place - other.place);
}

function sorted(rows, name) {
  const [column, direction] = order[name];
  const value = (row) => (column >= 0 ? row.numbers[column] : row.place); // slices are in the order of their labels
  return rows.sort((one, other) => {
    const [left, right] = [value(one), value(other)];
    if (left === null || right === null) return (left === null) - (right === null); // nothing comes last
    return direction * (left - right);
  });
}

function rowOf(label, numbers) {
  const row = document.createElement("tr");
  label.scope = "row";
  const cells = numbers.map((number, place) => {
    const { kind, empty } = data.measures[place];
    return made("td", written(kind, number), empty ? { hidden: "" } : {});
  });
  row.append(label, ...cells);
  return row;
}

function showTable(section) {
  const name = section.dataset.name;
  section.hidden = name === data.slices[chosen.slice][0]; // a channel has one channel
  const rows = sorted(rowsOf(name), name).map(({ place, label, numbers, isSlice }) => {
    const heading = made("th", isSlice ? "" : label);
    if (isSlice) heading.append(made("a", label, { href: address(chosen.week, place) }));
    return rowOf(heading, numbers);
  });
  section.querySelector("tbody").replaceChildren(...rows);
  const total = data.weekly[chosen.slice].map((one) => one[chosen.week]);
  section.querySelector("tfoot")?.replaceChildren(rowOf(made("th", "Week"), total));
  section.querySelectorAll("thead th").forEach((heading, place) => {
    const [column, direction] = order[name];
    heading.setAttribute("aria-sort", column !== place - 1 ? "none" : direction > 0 ? "ascending" : "descending");
  });
}

function prepareTable(section) {
  const name = section.dataset.name;
  order[name] = name === "day" ? [-1, 1] : [placeOf("tickets_closed"), -1];
  section.querySelectorAll("thead th").forEach((heading, place) => {
    const button = made("button", heading.textContent, { type: "button" });
    button.addEventListener("click", () => {
      const [column, direction] = order[name];
      order[name] = [place - 1, column === place - 1 ? -direction : place ? -1 : 1];
      showTable(section);
    });
    heading.replaceChildren(button);
  });
}

// Charts: all days from left to right, the chosen week shaded, numbers of weeks as steps

const daily = (name) => data.daily[chosen.slice][placeOf(name)];
const weekly = (name) => {
  const values = data.weekly[chosen.slice][placeOf(name)];
  return data.days.map((_, day) => (data.known[day] ? values[Math.floor(day / 7)] : null));
};
const averages = (values) =>
  values.map((_, day) => {
    const week = values.slice(day - 6, day + 1);
    return day < 6 || week.includes(null) ? null : week.reduce((sum, value) => sum + value) / 7;
  });

const CHARTS = [
  {
    title: "Tickets a day",
    kind: "count",
    note: "average of seven days, each day pale",
    lines: () =>
      [["tickets_created", "created", "blue"], ["tickets_closed", "closed", "orange"]].flatMap(([name, label, colour]) => [
        { label: `${label}, average`, values: averages(daily(name)), colour, legend: label },
        { label, values: daily(name), colour, strength: 0.3, width: 1 },
      ]),
  },
  {
    title: "At the day's end",
    kind: "count",
    lines: () => [
      { label: "open", values: daily("open_tickets"), colour: "blue" },
      { label: "waiting for an agent", values: daily("waiting_for_agent"), colour: "orange" },
    ],
    needs: ["open_tickets", "waiting_for_agent"],
  },
  ...[["first_response", "First response"], ["resolution", "Resolution"]].map(([name, title]) => ({
    title,
    kind: "duration",
    lines: () => [
      { label: "median of the week", values: weekly(`${name}_median_seconds`), colour: "blue", isStep: true },
      { label: "90th percentile", values: weekly(`${name}_p90_seconds`), colour: "blue", strength: 0.55, isStep: true, fill: "-1" },
    ],
  })),
  {
    title: "Surveys, by week",
    kind: "share",
    lines: () => [
      { label: "scored 4 or 5", values: weekly("satisfaction_score"), colour: "blue", isStep: true },
      { label: "answered", values: weekly("answer_rate"), colour: "orange", isStep: true },
    ],
  },
].filter(({ needs = [] }) => needs.every((name) => data.daily[0][placeOf(name)]?.some((value) => value !== null)));

const shade = {
  id: "shade",
  beforeDatasetsDraw({ ctx, chartArea: { top, bottom, left, right }, scales: { x } }, _, { colour }) {
    const half = (x.getPixelForValue(1) - x.getPixelForValue(0)) / 2;
    const edge = (day, side) => Math.min(right, Math.max(left, x.getPixelForValue(day) + side * half));
    ctx.fillStyle = colour;
    const from = edge(7 * chosen.week, -1);
    ctx.fillRect(from, top, edge(7 * chosen.week + 6, 1) - from, bottom - top);
  },
};

function drawChart(figure, { title, kind, note, lines }) {
  const style = getComputedStyle(document.documentElement);
  const colourOf = (name, strength = 1) =>
    style.getPropertyValue(`--${name}`).trim() + Math.round(255 * strength).toString(16).padStart(2, "0");
  const all = lines();
  const highest = Math.max(0, ...all.flatMap(({ values }) => values));
  const [unit, size] = kind === "duration" ? unitOf(highest) : ["", 1];
  const caption = figure.querySelector("figcaption");
  caption.replaceChildren(made("h2", unit ? `${title}, ${UNITS[unit]}` : title));
  for (const { label, legend = label, colour, strength, width } of all) {
    if (width) continue; // the pale line of a bold one
    caption.append(made("span", legend, { class: strength === 0.55 ? "pale" : colour }));
  }
  if (note) caption.append(made("small", note));
  const canvas = figure.querySelector("canvas");
  const week = all.map(({ label, values }) => `${label} ${written(kind, values[7 * chosen.week + 6])}`).join(", ");
  canvas.setAttribute("aria-label", `${title} by day. On the last day of the chosen week: ${week}.`);
  const isLonely = (values, day) => (values[day - 1] ?? null) === null && (values[day + 1] ?? null) === null;
  return new Chart(canvas, {
    type: "line",
    data: {
      labels: data.days,
      datasets: all.map(({ label, values, colour, strength, width = 2, isStep, fill = false }) => ({
        label,
        data: values.map((value) => (value === null ? null : value / size)),
        borderColor: colourOf(colour, strength),
        backgroundColor: colourOf(colour, fill ? 0.1 : strength),
        borderWidth: width,
        pointRadius: values.map((_, day) => (isLonely(values, day) ? 2 : 0)),
        pointHoverRadius: 3,
        stepped: isStep ? "middle" : false,
        fill,
      })),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      onClick: (event, _, chart) => {
        const week = Math.floor(chart.scales.x.getValueForPixel(event.x) / 7);
        if (data.weeks[week]?.days) choose(week, chosen.slice);
      },
      scales: {
        x: {
          grid: { display: false },
          border: { color: colourOf("rule") },
          ticks: {
            color: colourOf("muted"),
            maxRotation: 0,
            autoSkipPadding: 16,
            callback: (day) => (day % 7 ? undefined : data.days[day].slice(4)),
            autoSkip: false,
          },
          afterBuildTicks: (axis) => {
            const every = Math.max(1, Math.ceil((data.weeks.length * 56) / axis.chart.width));
            axis.ticks = axis.ticks.filter(({ value }) => value % (7 * every) === 0);
          },
        },
        y: {
          min: 0,
          suggestedMax: kind === "share" ? 1 : undefined,
          grid: { color: colourOf("rule") },
          border: { display: false },
          ticks: {
            color: colourOf("muted"),
            maxTicksLimit: 5,
            precision: kind === "count" ? 0 : undefined,
            callback: (value) => (kind === "share" ? written(kind, value) : value.toLocaleString("en")),
          },
        },
      },
      plugins: {
        legend: { display: false },
        shade: { colour: colourOf("band") },
        tooltip: {
          callbacks: {
            label: ({ dataset, raw }) => ` ${dataset.label}: ${written(kind === "count" && raw % 1 ? "average" : kind, raw * size)}`,
          },
        },
      },
    },
    plugins: [shade],
  });
}

function showCharts() {
  drawn.forEach((chart) => chart.destroy());
  drawn = CHARTS.map((chart, place) => drawChart(find("charts").children[place], chart));
}

function prepareCharts() {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  for (const _ of CHARTS) {
    const [figure, box] = [made("figure", ""), made("div", "", { class: "canvas" })];
    box.append(made("canvas", "", { role: "img" }));
    figure.append(made("figcaption", ""), box);
    find("charts").append(figure);
  }
  find("charts").hidden = false;
}

// The page

const sections = [...document.querySelectorAll("section.grid")];

function show() {
  readAddress();
  showHeadline();
  sections.forEach(showTable);
  showCharts();
}

function showPrinted(isPrinted) {
  document.documentElement.classList.toggle("printed", isPrinted); // on white
  showCharts();
}

sections.forEach(prepareTable);
prepareCharts();
find("choice").hidden = false;
find("choice").addEventListener("submit", (event) => event.preventDefault());
find("week").addEventListener("change", ({ target }) => choose(Number(target.value), chosen.slice));
find("slice").addEventListener("change", ({ target }) => choose(chosen.week, Number(target.value)));
find("earlier").addEventListener("click", () => choose(nextWeek(-1), chosen.slice));
find("later").addEventListener("click", () => choose(nextWeek(1), chosen.slice));
addEventListener("hashchange", show);
addEventListener("beforeprint", () => showPrinted(true));
addEventListener("afterprint", () => showPrinted(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showCharts);
show();
