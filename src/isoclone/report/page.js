"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const wanted = /[?#&]theme=(light|dark)\b/.exec(location.search + location.hash);
  if (wanted) root.dataset.theme = wanted[1];

  // Colours live in the style sheet; a probe says what a role looks like in the present theme.
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  let known = {};
  const rgb = (role) => {
    if (!(role in known)) {
      probe.style.color = `var(--${role})`;
      known[role] = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    }
    return known[role];
  };
  const STOPS = 5;
  const sequential = (place) => {
    const at = place * (STOPS - 1);
    const left = Math.min(Math.floor(at), STOPS - 2);
    const [a, b] = [rgb(`seq${left}`), rgb(`seq${left + 1}`)];
    return a.map((v, i) => Math.round(v + (at - left) * (b[i] - v)));
  };
  const colour = (role) => {
    const [name, opacity] = role.slice(1).split("/");
    if (name === "clear") return "rgba(0,0,0,0)";
    const parts = name.startsWith("seq") ? sequential(Number(name.slice(3))) : rgb(name);
    return `rgba(${parts.join(",")},${opacity || 1})`;
  };
  const paint = (value, key) => {
    if (Array.isArray(value)) return value.map((v) => paint(v, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, paint(v, k)]));
    }
    const role = typeof value === "string" && value[0] === "@" && /color$/.test(key || "");
    return role ? colour(value) : value;
  };

  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const draw = () => {
    known = {};
    for (const [id, figure] of Object.entries(figures)) {
      const place = document.getElementById(id);
      if (!place) continue;
      const { data, layout } = paint(figure);
      layout.uirevision = "kept";
      const options = { ...config, toImageButtonOptions: { format: "svg", filename: id } };
      Plotly.react(place, data, layout, options);
    }
  };
  draw();
  dark.addEventListener("change", draw);
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    draw();
  });

  for (const folded of document.querySelectorAll("details")) {
    folded.addEventListener("toggle", () => {
      const charts = folded.open ? folded.querySelectorAll(".chart") : [];
      for (const place of charts) if (place.id in figures) Plotly.Plots.resize(place);
    });
  }

  const sortBy = (button) => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.children) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[column];
      if (!("v" in cell.dataset)) return cell.textContent;
      return cell.dataset.v === "" ? null : Number(cell.dataset.v);
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null); // missing ones last
      const order = typeof x === "number" ? x - y : x.localeCompare(y);
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
  };
  for (const button of document.querySelectorAll(".sortable th button")) {
    button.addEventListener("click", () => sortBy(button));
  }
})();
