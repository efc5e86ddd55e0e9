// Latent spaces side by side: point at an image to find it in all of them (or step with the arrow keys), drag to select
// (or Enter), click a class to hide it.
(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const root = document.getElementById("explorer");
  const n = data.index.length, STEPS = 10000, MARGIN = 10, REACH = 9, FINGER = 24;
  const sprite = new Image();
  sprite.src = data.sprite.src;
  const hidden = new Set();
  let selected = null; // a Set of rows, or null
  let pointed = -1;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const classColour = (label) => data.colours[dark.matches ? "dark" : "light"][label];
  const colour = (i) => classColour(data.labels ? data.labels[i] : 0);
  const visible = (i) => !data.labels || !hidden.has(data.labels[i]);

  const make = (tag, className, parent) => {
    const element = document.createElement(tag);
    element.className = className;
    parent.append(element);
    return element;
  };
  const grid = make("div", "explorer-panels", root);
  const legend = make("div", "explorer-legend", root);
  const status = make("p", "explorer-status muted", root);
  status.setAttribute("role", "status");
  const copier = make("button", "explorer-copy", root);
  copier.type = "button";
  const copied = make("textarea", "explorer-copied", root);
  copied.readOnly = true;
  copied.setAttribute("aria-label", "Sources of the selected images");
  const strip = make("div", "explorer-strip", root);
  const tip = make("div", "explorer-tip", root);
  const thumbnail = make("canvas", "", tip);
  const caption = make("div", "", tip);
  caption.setAttribute("aria-live", "polite");

  const drawThumbnail = (canvas, i, scale) => {
    const { width, height, columns } = data.sprite;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sprite, (i % columns) * width, Math.floor(i / columns) * height, width, height,
      0, 0, canvas.width, canvas.height);
  };

  const views = data.panels.map((panel) => {
    const card = make("div", panel.winner ? "explorer-panel winner" : "explorer-panel", grid);
    make("b", "", card).textContent = panel.title;
    make("small", "muted", card).textContent = panel.remark;
    const canvas = make("canvas", "explorer-canvas", card);
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label",
      `${n} test images in ${panel.title}; arrow keys go from image to image, Enter selects`);
    return { panel, canvas, dots: document.createElement("canvas"), width: 0, height: 0, box: null };
  });

  const place = (view, i) => {
    const w = view.width - 2 * MARGIN, h = view.height - 2 * MARGIN;
    return [MARGIN + (view.panel.x[i] / STEPS) * w, MARGIN + (1 - view.panel.y[i] / STEPS) * h];
  };

  const radius = Math.max(1.6, Math.min(3.4, 90 / Math.sqrt(n)));
  const pen = (view, canvas) => {
    const density = devicePixelRatio || 1;
    canvas.width = view.width * density;
    canvas.height = view.height * density;
    const found = canvas.getContext("2d");
    found.scale(density, density);
    return found;
  };
  const dot = (pen, [x, y], r, colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(x, y, r, 0, 7);
    pen.fill();
  };

  // All images, on a canvas of their own: only what is above them changes while the pointer moves.
  const drawDots = (view) => {
    view.width = view.canvas.clientWidth;
    view.height = view.canvas.clientHeight;
    const dots = pen(view, view.dots);
    for (let i = 0; i < n; i++) {
      if (!visible(i)) continue;
      dots.globalAlpha = selected && !selected.has(i) ? 0.08 : 0.75;
      dot(dots, place(view, i), radius, colour(i));
    }
  };

  const draw = (view) => {
    const { canvas, box, width, height } = view;
    if (!width || !height) return;
    const above = pen(view, canvas);
    above.drawImage(view.dots, 0, 0, width, height);
    if (pointed >= 0 && visible(pointed)) {
      dot(above, place(view, pointed), radius + 4, dark.matches ? "#fff" : "#111");
      dot(above, place(view, pointed), radius + 2, colour(pointed));
    }
    if (box) {
      above.strokeStyle = dark.matches ? "#fff" : "#111";
      above.setLineDash([4, 3]);
      above.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    }
  };
  const drawAll = () => views.forEach((view) => { drawDots(view); draw(view); });

  const nearest = (view, x, y, reach = REACH) => {
    let best = -1, least = reach * reach;
    for (let i = 0; i < n; i++) {
      if (!visible(i)) continue;
      const [px, py] = place(view, i);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  };

  // The closest image in a direction, at most 45 degrees off.
  const next = (view, right, down) => {
    const [x, y] = place(view, pointed);
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (!visible(i)) continue;
      const [px, py] = place(view, i);
      const along = (px - x) * right + (py - y) * down, across = Math.abs((px - x) * down) + Math.abs((py - y) * right);
      if (along > 0 && across <= along && along + across < least) [best, least] = [i, along + across];
    }
    return best;
  };

  const describe = (i) => {
    const lines = [data.sources ? data.sources[i] : `test image ${data.index[i]}`];
    if (data.labels) lines.unshift(data.classes[data.labels[i]]);
    if (data.predicted && data.predicted[i] !== data.labels[i]) lines.push(`predicted: ${data.classes[data.predicted[i]]}`);
    return lines;
  };
  const point = (i, event) => {
    tip.style.display = i < 0 ? "none" : "flex";
    if (i >= 0) {
      drawThumbnail(thumbnail, i, Math.max(1, Math.round(84 / data.sprite.height)));
      caption.replaceChildren(...describe(i).map((line) => Object.assign(document.createElement("div"), { textContent: line })));
      const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8))}px`;
    }
    if (i === pointed) return;
    pointed = i;
    views.forEach(draw);
  };
  const select = (rows) => {
    selected = rows && rows.size ? rows : null;
    say();
    drawAll();
  };

  // A page from a file may not be allowed to write to the clipboard: then the lines are shown, ready to be copied.
  const copySources = async () => {
    copied.value = [...selected].filter(visible).map((i) => data.sources[i]).join("\n");
    try {
      await navigator.clipboard.writeText(copied.value);
      copier.textContent = "Copied";
    } catch {
      copied.style.display = "block";
      copied.focus();
      copied.select();
      copier.textContent = "Copy the lines below";
    }
  };
  copier.addEventListener("click", copySources);

  const say = () => {
    strip.replaceChildren();
    copied.style.display = "none";
    copier.style.display = selected && data.sources ? "" : "none";
    if (!selected) {
      status.textContent = `${n.toLocaleString()} test images. Point at one, or step with the arrow keys, to find it in every panel; drag, or press Enter, to select; click a class to hide it.`;
      return;
    }
    const rows = [...selected].filter(visible);
    const counts = new Map();
    if (data.labels) rows.forEach((i) => counts.set(data.labels[i], (counts.get(data.labels[i]) || 0) + 1));
    const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${count} ${data.classes[label]}`);
    status.textContent = `${rows.length} selected${parts.length ? ": " + parts.join(", ") : ""}. Tap an empty place, or press Escape, to clear the selection.`;
    copier.textContent = `Copy ${rows.length === 1 ? "the source" : `the ${rows.length} sources`}`;
    rows.slice(0, 48).forEach((i) => {
      const canvas = make("canvas", "", strip);
      canvas.title = describe(i).join(", ");
      drawThumbnail(canvas, i, 1);
    });
  };

  views.forEach((view) => {
    let from = null;
    const at = (event) => {
      const box = view.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    view.canvas.addEventListener("pointerdown", (event) => {
      from = at(event);
      if (event.isTrusted) view.canvas.setPointerCapture(event.pointerId);
    });
    view.canvas.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (from && Math.hypot(x - from[0], y - from[1]) > 5) {
        view.box = [...from, x, y];
        point(-1);
        draw(view);
      } else if (!view.box) point(nearest(view, x, y), event);
    });
    view.canvas.addEventListener("pointerup", (event) => {
      const [x, y] = at(event);
      if (view.box) {
        const [left, right] = [Math.min(view.box[0], x), Math.max(view.box[0], x)];
        const [top, bottom] = [Math.min(view.box[1], y), Math.max(view.box[1], y)];
        const rows = new Set();
        for (let i = 0; i < n; i++) {
          const [px, py] = place(view, i);
          if (visible(i) && px >= left && px <= right && py >= top && py <= bottom) rows.add(i);
        }
        from = view.box = null;
        select(rows);
        return;
      }
      from = null;
      const i = nearest(view, x, y, event.pointerType === "touch" ? FINGER : REACH);
      point(i, event);
      if (i < 0) select(null);
    });
    view.canvas.addEventListener("pointerleave", (event) => { if (!from && event.pointerType === "mouse") point(-1); });
    view.canvas.addEventListener("pointercancel", () => { from = view.box = null; point(-1); draw(view); });
    view.canvas.addEventListener("blur", (event) => { if (!grid.contains(event.relatedTarget)) point(-1); });
    view.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && pointed >= 0) {
        const rows = new Set(selected);
        if (!rows.delete(pointed)) rows.add(pointed);
        select(rows);
      }
      if (event.key === "Escape") pointed < 0 ? select(null) : point(-1);
      const step = { ArrowRight: [1, 0], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowUp: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const i = pointed < 0 ? nearest(view, view.width / 2, view.height / 2, Infinity) : next(view, ...step);
      if (i < 0) return;
      const box = view.canvas.getBoundingClientRect(), [x, y] = place(view, i);
      point(i, { clientX: box.left + x, clientY: box.top + y });
    });
  });

  data.classes.forEach((name, label) => {
    const button = make("button", "", legend);
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    const dot = make("i", "", button), paint = () => { dot.style.background = classColour(label); };
    paint();
    dark.addEventListener("change", paint);
    button.append(name);
    button.addEventListener("click", () => {
      if (!hidden.delete(label)) hidden.add(label);
      button.setAttribute("aria-pressed", String(!hidden.has(label)));
      say();
      drawAll();
    });
  });

  sprite.addEventListener("load", say);
  dark.addEventListener("change", drawAll);
  addEventListener("scroll", () => point(-1), { passive: true });
  new ResizeObserver(drawAll).observe(grid);
  say();
  drawAll();
})();
