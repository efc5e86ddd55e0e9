// Parallel coordinates of the search: point at a line, or step with the arrow keys, to read a trial; click a category to hide it.
(() => {
  const data = JSON.parse(document.getElementById("search-data").textContent);
  const root = document.getElementById("search-view");
  const { axes, trials } = data, last = axes.length - 1;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  const REACH = 24;
  let pointed = -1;

  const make = (tag, className, parent, text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    parent.append(element);
    return element;
  };
  const draw = (tag, attributes, parent, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    parent.append(element);
    return element;
  };
  const svg = draw("svg", { class: "search-svg", tabindex: 0, role: "img", "aria-label":
    `${trials.length} trials over ${axes.length - 1} hyperparameters; arrow keys go from trial to trial, best first` }, root);
  const status = make("p", "search-status", root);
  status.setAttribute("role", "status");
  const legend = make("div", "explorer-legend", root);

  let place, lines, top; // of the last layout
  const points = (trial) => trial.places.map((at, axis) => at === null ? null : place(axis, at)).filter((p) => p);
  const colour = (trial) => {
    const at = trial.places[last], ramp = data.ramps[dark.matches ? "dark" : "light"];
    if (trial.category === "failed") return "var(--bad)";
    return at === null ? "var(--muted)" : ramp[Math.round(at * (ramp.length - 1))];
  };

  const layout = () => {
    const width = root.clientWidth, upright = width >= 92 * axes.length; // else every axis is a row
    const height = upright ? 400 : 64 * axes.length;
    const step = (width - 140) / last;
    place = upright
      ? (axis, at) => [80 + axis * step, 36 + (1 - at) * (height - 52)]
      : (axis, at) => [16 + at * (width - 32), 34 + axis * 64];
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = `${height}px`;
    lines = [];
    for (let i = trials.length - 1; i >= 0; i--) { // the best are drawn last
      const trial = trials[i];
      lines[i] = draw("polyline", { points: points(trial).join(" "),
        class: trial.winner ? "winner" : trial.category.replaceAll(" ", "-") }, svg);
      if (!trial.winner) lines[i].style.stroke = colour(trial);
    }
    const winner = trials.findIndex((trial) => trial.winner);
    if (winner >= 0) svg.append(lines[winner]);
    top = draw("g", {}, svg); // the pointed trial, above the others and below the names
    axes.forEach(({ name, ticks }, axis) => {
      const [x1, y1] = place(axis, 0), [x2, y2] = place(axis, 1);
      draw("line", { x1, y1, x2, y2 }, svg);
      draw("text", upright ? { x: x2, y: y2 - 16, class: "name" } : { x: x1, y: y1 - 16, class: "name row" }, svg, name);
      ticks.forEach(([at, text]) => {
        const [x, y] = place(axis, at);
        const end = upright || x > width - 30 ? "end" : x < 30 ? "start" : "middle";
        draw("text", upright ? { x: x - 5, y: y + 3 } : { x, y: y + 14 }, svg, text).style.textAnchor = end;
      });
    });
    show(pointed);
  };

  const show = (i) => {
    pointed = i;
    top.replaceChildren();
    svg.classList.toggle("pointed", i >= 0);
    lines.forEach((line, j) => { line.style.display = hidden.has(trials[j].category) ? "none" : ""; });
    status.replaceChildren();
    if (i < 0) {
      make("span", "muted", status, `${trials.length} trials, each a line from its hyperparameters to its objective: the ${dark.matches ? "brighter" : "darker"} its green, the better. Point at one to read its values, or step through them with the arrow keys.`);
      return;
    }
    const trial = trials[i];
    make("b", "", status, trial.id);
    status.append(`${trial.winner ? ", the winner" : ""}: ${axes[last].name} ${trial.values[last]}, ${trial.outcome}. `);
    make("span", "muted", status, axes.slice(0, last).map((axis, j) => `${axis.name} ${trial.values[j]}`).join(", "));
    draw("polyline", { points: points(trial).join(" "), class: "halo" }, top);
    const line = draw("polyline", { points: points(trial).join(" "), class: "shown" }, top);
    line.style.stroke = trial.winner ? "" : colour(trial);
    points(trial).forEach(([cx, cy]) => draw("circle", { cx, cy, r: 4 }, top).style.fill = line.style.stroke);
  };

  const distance = (x, y, [ax, ay], [bx, by]) => {
    const [dx, dy] = [bx - ax, by - ay];
    const share = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
    return Math.hypot(x - ax - share * dx, y - ay - share * dy);
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, least = REACH;
    trials.forEach((trial, i) => {
      if (hidden.has(trial.category)) return;
      const corners = points(trial);
      for (let j = 1; j < corners.length; j++) {
        const far = distance(x, y, corners[j - 1], corners[j]);
        if (far < least) [best, least] = [i, far];
      }
    });
    return best;
  };
  svg.addEventListener("pointermove", (event) => { const i = nearest(event); if (i !== pointed) show(i); });
  svg.addEventListener("pointerdown", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") show(-1); });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step) return;
    event.preventDefault();
    const seen = trials.map((_, i) => i).filter((i) => !hidden.has(trials[i].category));
    if (seen.length) show(seen[pointed < 0 ? 0 : (seen.indexOf(pointed) + step + seen.length) % seen.length]);
  });

  data.categories.forEach((name) => {
    const count = trials.filter((trial) => trial.category === name).length;
    const button = make("button", "", legend);
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.textContent = `${name} (${count})`;
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      show(-1);
    });
  });
  dark.addEventListener("change", layout);
  let width = 0;
  new ResizeObserver(() => { if (root.clientWidth !== width) { width = root.clientWidth; layout(); } }).observe(root);
})();
