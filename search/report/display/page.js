(() => {
  "use strict";

  // Tables: a click on a header sorts by it, a second one the other way round.
  const keyOf = (cell) => {
    if (cell.dataset.key !== undefined) return Number(cell.dataset.key);
    const text = cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    if (cell.classList.contains("number")) return Number.isNaN(number) ? Infinity : number;
    return text.toLowerCase();
  };
  const compare = (a, b) =>
    typeof a === "string" || typeof b === "string"
      ? String(a).localeCompare(String(b))
      : a === b ? 0 : a < b ? -1 : 1;
  const sort = (table, column, down) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, at) => [keyOf(row.cells[column]), at, row]);
    // What has no value stays at the end, whichever way the others go.
    const empty = (key) => key === Infinity || key === "–" || key === "";
    rows.sort((a, b) =>
      empty(a[0]) - empty(b[0]) || (down ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    table.tBodies[0].append(...rows.map((row) => row[2]));
    table.dataset.sorted = `${column} ${down ? 1 : 0}`;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.title = "sort by this column";
      head.replaceChildren(button);
      button.addEventListener("click", () =>
        sort(table, column, head.getAttribute("aria-sort") === "ascending"));
    });
  }

  // Charts: the curve next to the pointer is named, and its trial lit up wherever it stands.
  const charts = [...document.querySelectorAll("svg.chart")];
  const light = (trial) => {
    document.querySelectorAll(".on").forEach((part) => part.classList.remove("on"));
    charts.forEach((chart) => chart.classList.toggle("busy", trial !== null));
    if (trial === null) return;
    document.querySelectorAll(`[data-trial="${trial}"]`).forEach((part) => part.classList.add("on"));
  };
  const setUp = (chart) => {
    const said = document.createElement("p");
    said.className = "said";
    said.setAttribute("aria-live", "polite");
    chart.after(said);
    const hint = "Point at a curve, or use the arrow keys, to read its values.";
    said.textContent = hint;
    const spot = document.createElementNS(chart.namespaceURI, "circle");
    spot.setAttribute("class", "spot");
    spot.setAttribute("r", 4.5);
    let curves = null;
    const read = () => curves ??= [...chart.querySelectorAll(".curve")].map((path) => {
      const pixels = path.getAttribute("d").slice(1).replace("h.01", "").split("L");
      const values = path.dataset.points.split(" ");
      return {
        path,
        points: pixels.map((pixel, at) => {
          const [x, y] = pixel.split(" ").map(Number);
          const [epoch, value] = values[at].split(",");
          return { x, y, epoch, value };
        }),
      };
    });
    let now = null;
    const show = (found) => {
      now = found;
      if (found === null) {
        spot.remove();
        said.textContent = hint;
        light(null);
        return;
      }
      const { curve, at } = found;
      const point = curve.points[at];
      spot.setAttribute("cx", point.x);
      spot.setAttribute("cy", point.y);
      light(curve.path.dataset.trial);
      curve.path.parentNode.append(spot);
      said.textContent = `${curve.path.dataset.name}: ${chart.dataset.label} ${point.value}` +
        `${chart.dataset.unit} after epoch ${point.epoch}`;
    };
    const nearest = (x, y) => {
      let best = null, least = Infinity;
      for (const curve of read()) {
        curve.points.forEach((point, at) => {
          // Across counts more: a reader points at an epoch first.
          const distance = 4 * (point.x - x) ** 2 + (point.y - y) ** 2;
          if (distance < least) [least, best] = [distance, { curve, at }];
        });
      }
      return best;
    };
    chart.addEventListener("pointermove", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(chart.getScreenCTM().inverse());
      show(nearest(place.x, place.y));
    });
    chart.addEventListener("pointerleave", () => show(null));
    chart.addEventListener("blur", () => show(null));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (event.key === "Escape") return show(null);
      if (!(event.key in step)) return;
      event.preventDefault();
      const all = [...read()].reverse();  // the best is drawn last
      const [down, right] = step[event.key];
      if (now === null) return show({ curve: all[0], at: all[0].points.length - 1 });
      const which = Math.min(all.length - 1, Math.max(0, all.indexOf(now.curve) + down));
      const last = all[which].points.length - 1;
      show({ curve: all[which], at: Math.min(last, Math.max(0, now.at + right)) });
    });
  };
  charts.forEach(setUp);
  for (const row of document.querySelectorAll("tr[data-trial]")) {
    row.addEventListener("pointerenter", () => light(row.dataset.trial));
    row.addEventListener("pointerleave", () => light(null));
  }

  // A page of a running search loads itself again, and stays where its reader was.
  // Known by the heading above and a count, since a page grows between two looks.
  const named = (selector) => {
    const found = new Map(), counts = {};
    let heading = "";
    for (const part of document.querySelectorAll(`h2, ${selector}`)) {
      if (part.tagName === "H2") heading = part.id;
      else found.set(`${heading} ${counts[heading] = (counts[heading] || 0) + 1}`, part);
    }
    return found;
  };
  const folds = named("details"), sortable = named("table.sortable");
  const again = Number(document.body.dataset.again || 0);
  const kept = again && history.state && history.state.report;
  if (kept) {
    folds.forEach((fold, name) => { fold.open = kept.folds[name] ?? fold.open; });
    sortable.forEach((table, name) => {
      const [column, down] = (kept.sorted[name] || "-1 0").split(" ").map(Number);
      if (table.tHead.rows[0].cells[column]) sort(table, column, down === 1);
    });
    scrollTo(kept.x, kept.y);
  }
  if (again) {
    history.scrollRestoration = "manual";
    const written = Date.parse(document.body.dataset.written);
    const age = document.querySelector("#age");
    const tell = () => {
      const seconds = Math.max(0, Math.round((Date.now() - written) / 1000));
      const stale = seconds > Number(document.body.dataset.stale);
      age.textContent = stale
        ? `Stale: written ${Math.round(seconds / 60)} min ago. Run the command again to keep it fresh.`
        : `Written ${seconds} s ago; it loads itself again.`;
      age.classList.toggle("tag", stale);
    };
    tell();
    setInterval(tell, 1000);
    setInterval(() => {
      // Who selects text or reads a value is not disturbed.
      if (document.hidden || String(getSelection()) || document.querySelector(".busy")) return;
      history.replaceState({ report: {
        folds: Object.fromEntries([...folds].map(([name, fold]) => [name, fold.open])),
        sorted: Object.fromEntries(
          [...sortable].map(([name, table]) => [name, table.dataset.sorted || ""])),
        x: scrollX, y: scrollY,
      } }, "");
      location.reload();
    }, again * 1000);
  }
})();
