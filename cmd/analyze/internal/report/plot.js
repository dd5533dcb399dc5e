// SPDX-License-Identifier: Apache-2.0
// Interactive plots of a report: drawn as SVG from the page's own data, with no library and no network.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("plot-data").textContent);
  const hidden = new Set(); // names of series that no plot shows
  const plots = [];

  // Scales go from data to a line on which equal steps look equal, and back.
  const scales = {
    linear: { to: (v) => v, from: (v) => v },
    log: { to: (v) => Math.log10(v), from: (v) => 10 ** v },
    nines: { to: (share) => -Math.log10(1 - share), from: (n) => 1 - 10 ** -n },
  };

  function element(name, attributes = {}, parent = null, text = "") {
    const svg = ["svg", "g", "path", "line", "rect", "text", "clipPath", "circle"].includes(name);
    const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text) e.textContent = text;
    if (parent) parent.append(e);
    return e;
  }

  // digits writes a number with at most three significant digits, as the tables do.
  function digits(v) {
    if (v === 0) return "0";
    const a = Math.abs(v);
    if (a >= 999.5) return Math.round(v).toLocaleString("en-US");
    if (a < 0.0001) return v.toExponential(1);
    return v.toPrecision(3);
  }

  // label writes a round number in full.
  function label(v) { return Number(v.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 12 }); }

  // A share between 0 and 1 as per cent, with as many nines as it has.
  function percent(share) {
    const slower = 100 * (1 - share);
    return String(Number((100 * share).toFixed(slower >= 1 || slower <= 0 ? 1 : Math.min(6, 1 - Math.floor(Math.log10(slower))))));
  }

  function ticks(axis, from, to, room) {
    const scale = scales[axis.scale];
    const out = [];
    if (axis.scale === "nines") {
      for (const s of [0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999, 0.999999]) {
        const at = scale.to(s);
        if (at >= from - 1e-9 && at <= to + 1e-9) out.push({ at, label: percent(s) });
      }
      if (out.length > 2) return out;
    }
    if (axis.scale === "log" && to - from > 0.7) {
      const fine = to - from < 2.4;
      for (let e = Math.floor(from); e <= to; e++) {
        for (const m of fine ? [1, 2, 5] : [1]) {
          const at = Math.log10(m) + e;
          if (at >= from && at <= to) out.push({ at, label: label(m * 10 ** e) });
        }
      }
      return out;
    }
    const a = scale.from(from), b = scale.from(to);
    const power = 10 ** Math.floor(Math.log10((b - a) / room));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => (b - a) / s <= room) || 10 * power;
    const places = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9) - (axis.scale === "nines" ? 2 : 0));
    out.length = 0;
    for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) {
      const v = i * step + 0; // + 0: no tick is called -0
      const label = axis.scale === "nines" ? (100 * v).toFixed(places) : v.toLocaleString("en-US", { minimumFractionDigits: Math.min(places, 12), maximumFractionDigits: Math.min(places, 12) });
      out.push({ at: scale.to(v), label });
    }
    return out;
  }

  const markers = [
    (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
    (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    (x, y, r) => `M${x} ${y - 1.25 * r}L${x + 1.2 * r} ${y + r}H${x - 1.2 * r}z`,
    (x, y, r) => `M${x} ${y - 1.4 * r}L${x + 1.4 * r} ${y}L${x} ${y + 1.4 * r}L${x - 1.4 * r} ${y}z`,
    (x, y, r) => `M${x} ${y + 1.25 * r}L${x + 1.2 * r} ${y - r}H${x - 1.2 * r}z`,
    (x, y, r) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
  ];

  class Plot {
    constructor(place, spec) {
      this.spec = spec;
      this.variant = spec.variants[0];
      this.cursor = null; // on the axis that is read, transformed
      this.build(place);
      this.choose(0);
      new ResizeObserver(() => this.draw()).observe(this.canvas);
    }

    build(place) {
      const tools = element("div", { class: "tools" }, place);
      if (this.spec.variants.length > 1) {
        const label = element("label", {}, tools, this.spec.choice + " ");
        const select = element("select", {}, label);
        this.spec.variants.forEach((v, i) => element("option", { value: i }, select, v.name));
        select.addEventListener("change", () => this.choose(Number(select.value)));
      }
      const buttons = element("div", { class: "buttons", role: "group", "aria-label": "View of " + this.spec.title }, tools);
      for (const [text, name, act] of [["+", "Zoom in", () => this.zoom(0.6)], ["−", "Zoom out", () => this.zoom(1 / 0.6)], ["Reset", "Show all", () => this.reset()]]) {
        element("button", { type: "button", "aria-label": name, title: name }, buttons, text).addEventListener("click", act);
      }
      this.canvas = element("div", {
        class: "canvas", tabindex: "0", role: "application", "aria-roledescription": "interactive plot",
        "aria-label": this.spec.title, "aria-describedby": "plot-help",
      }, place);
      this.svg = element("svg", { "aria-hidden": "true" }, this.canvas);
      this.legend = element("fieldset", { class: "legend" }, place);
      this.said = element("p", { class: "said", role: "status" }, place);
      this.note = element("p", { class: "note" }, place);
      this.listen();
    }

    choose(i) {
      const v = this.variant = this.spec.variants[i];
      this.sx = scales[v.x.scale];
      this.sy = scales[v.y.scale];
      this.note.textContent = v.note || "";
      this.values = new Map();
      this.legend.replaceChildren();
      element("legend", {}, this.legend, "Shown");
      this.boxes = v.series.map((s, n) => {
        const label = element("label", {}, this.legend);
        const box = element("input", { type: "checkbox" }, label);
        const swatch = element("svg", { class: "swatch", viewBox: "0 0 28 12", "aria-hidden": "true" }, label);
        element("path", this.look(s, n, { d: s.kind === "dots" ? markers[n % markers.length](14, 6, 4) : "M1 6H27" }), swatch);
        label.append(" " + s.name + " ");
        this.values.set(s, element("span", { class: "value" }, label));
        box.checked = !hidden.has(s.name);
        box.addEventListener("change", () => {
          if (box.checked) hidden.delete(s.name); else hidden.add(s.name);
          for (const p of plots) p.toggled();
        });
        return [box, s];
      });
      this.reset();
    }

    toggled() {
      for (const [box, s] of this.boxes) box.checked = !hidden.has(s.name);
      this.draw();
    }

    shown() { return this.variant.series.filter((s) => !hidden.has(s.name)); }

    look(s, n, more) {
      const open = s.kind !== "dots" || n % markers.length === 5;
      const a = { ...more, style: `--c: var(--series-${s.color})`, class: open ? "line" : "dots" };
      if (s.dash && s.kind !== "dots") a["stroke-dasharray"] = s.dash;
      return a;
    }

    reset() {
      const all = this.shown().length ? this.shown() : this.variant.series;
      const view = { x0: Infinity, x1: -Infinity, y0: Infinity, y1: -Infinity };
      for (const s of all) for (const [x, y] of s.points) {
        const tx = this.sx.to(x), ty = this.sy.to(y);
        if (!Number.isFinite(tx) || !Number.isFinite(ty)) continue;
        view.x0 = Math.min(view.x0, tx); view.x1 = Math.max(view.x1, tx);
        view.y0 = Math.min(view.y0, ty); view.y1 = Math.max(view.y1, ty);
      }
      if (this.variant.y.scale === "linear") view.y0 = Math.min(0, view.y0);
      if (!(view.x1 > view.x0)) { view.x0 -= 0.5; view.x1 += 0.5; }
      if (!(view.y1 > view.y0)) view.y1 = view.y0 + 1;
      view.y1 += 0.04 * (view.y1 - view.y0);
      if (all[0] && all[0].kind === "dots") { const room = 0.04 * (view.x1 - view.x0); view.x0 -= room; view.x1 += room; }
      this.view = view;
      this.cursor = null;
      this.draw();
    }

    zoom(factor, cx = (this.view.x0 + this.view.x1) / 2, cy = (this.view.y0 + this.view.y1) / 2) {
      const v = this.view;
      this.view = { x0: cx - (cx - v.x0) * factor, x1: cx + (v.x1 - cx) * factor, y0: cy - (cy - v.y0) * factor, y1: cy + (v.y1 - cy) * factor };
      this.draw();
    }

    pan(dx, dy) {
      const v = this.view, w = v.x1 - v.x0, h = v.y1 - v.y0;
      this.view = { x0: v.x0 + dx * w, x1: v.x1 + dx * w, y0: v.y0 + dy * h, y1: v.y1 + dy * h };
      this.draw();
    }

    px(tx) { return this.left + (tx - this.view.x0) / (this.view.x1 - this.view.x0) * (this.right - this.left); }
    py(ty) { return this.bottom - (ty - this.view.y0) / (this.view.y1 - this.view.y0) * (this.bottom - this.top); }
    tx(px) { return this.view.x0 + (px - this.left) / (this.right - this.left) * (this.view.x1 - this.view.x0); }
    ty(py) { return this.view.y0 + (this.bottom - py) / (this.bottom - this.top) * (this.view.y1 - this.view.y0); }

    draw() {
      const width = Math.max(280, this.canvas.clientWidth), height = Math.min(420, Math.max(240, width * 0.5));
      Object.assign(this, { width, left: 62, right: width - 14, top: 12, bottom: height - 44 });
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.setAttribute("height", height);
      this.svg.replaceChildren();
      const clip = element("clipPath", { id: this.spec.id + "-clip" }, this.svg);
      element("rect", { x: this.left, y: this.top, width: this.right - this.left, height: this.bottom - this.top }, clip);
      const inside = () => element("g", { "clip-path": `url(#${this.spec.id}-clip)` }, this.svg);
      const back = inside();
      for (const b of this.variant.bands || []) {
        const x0 = this.px(this.sx.to(b.from)), x1 = this.px(this.sx.to(b.to));
        element("rect", { class: "band", x: Math.min(x0, x1), y: this.top, width: Math.abs(x1 - x0), height: this.bottom - this.top }, back);
        element("text", { class: "bandname", x: Math.max(this.left, x0) + 5, y: this.top + 14 }, back, b.name);
      }
      this.axes();
      const front = inside();
      for (const m of this.variant.marks || []) {
        if (hidden.has(m.series)) continue;
        const x = this.px(this.sx.to(m.at));
        const line = element("line", { class: "mark", x1: x, x2: x, y1: this.top, y2: this.bottom }, front);
        element("title", {}, line, m.name);
      }
      this.variant.series.forEach((s, n) => {
        if (hidden.has(s.name)) return;
        element("path", this.look(s, n, { d: this.path(s, n), "data-series": s.name }), front);
      });
      this.hair = element("line", { class: "hair", visibility: "hidden" }, front);
      this.dots = element("g", {}, front);
      this.box = element("rect", { class: "select", visibility: "hidden" }, this.svg);
      this.read(false);
    }

    path(s, n) {
      const at = (p) => [this.px(this.sx.to(p[0])).toFixed(1), this.py(this.sy.to(p[1])).toFixed(1)];
      if (s.kind === "dots") return s.points.map((p) => markers[n % markers.length](...at(p).map(Number), 4)).join("");
      let d = "";
      s.points.forEach((p, i) => {
        const [x, y] = at(p);
        d += i === 0 ? `M${x} ${y}` : s.kind === "steps" ? `H${x}V${y}` : `L${x} ${y}`;
      });
      return d;
    }

    axes() {
      const v = this.view, g = element("g", {}, this.svg);
      const xs = ticks(this.variant.x, v.x0, v.x1, Math.max(3, Math.floor((this.right - this.left) / 90)));
      const ys = ticks(this.variant.y, v.y0, v.y1, 6);
      let end = -Infinity;
      for (const t of xs) {
        const x = this.px(t.at), wide = 7 * t.label.length;
        element("line", { class: "grid", x1: x, x2: x, y1: this.top, y2: this.bottom }, g);
        if (x - wide / 2 < end + 6) continue;
        element("text", { class: "tick", x, y: this.bottom + 16, "text-anchor": "middle" }, g, t.label);
        end = x + wide / 2;
      }
      let above = Infinity;
      for (const t of ys) {
        const y = this.py(t.at);
        element("line", { class: "grid", x1: this.left, x2: this.right, y1: y, y2: y }, g);
        if (y > above - 13) continue;
        element("text", { class: "tick", x: this.left - 7, y: y + 4, "text-anchor": "end" }, g, t.label);
        above = y;
      }
      element("path", { class: "axis", d: `M${this.left} ${this.top}V${this.bottom}H${this.right}` }, g);
      element("text", { class: "name", x: (this.left + this.right) / 2, y: this.bottom + 36, "text-anchor": "middle" }, g, this.variant.x.label);
      const middle = (this.top + this.bottom) / 2;
      element("text", { class: "name", x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, g, this.variant.y.label);
    }

    // value is what a series shows at the cursor: a point of it, or null.
    value(s) {
      if (this.spec.read === "y") { // the least x at which the series has reached the share
        const share = this.sy.from(this.cursor);
        return s.points.find((p) => p[1] >= share - 1e-12) || null;
      }
      if (s.kind === "dots") {
        const reach = 0.03 * (this.view.x1 - this.view.x0);
        let best = null;
        for (const p of s.points) {
          const d = Math.abs(this.sx.to(p[0]) - this.cursor);
          if (d <= reach && (!best || d < Math.abs(this.sx.to(best[0]) - this.cursor))) best = p;
        }
        return best;
      }
      const x = this.sx.from(this.cursor);
      let last = null;
      for (const p of s.points) { if (p[0] > x) break; last = p; }
      return last;
    }

    // read shows, and says when told to, what every series has at the cursor.
    read(say) {
      for (const out of this.values.values()) out.textContent = "";
      this.dots.replaceChildren();
      this.hair.setAttribute("visibility", this.cursor === null ? "hidden" : "visible");
      if (this.cursor === null) { this.said.textContent = ""; return; }
      const byY = this.spec.read === "y";
      const at = byY ? this.py(this.cursor) : this.px(this.cursor);
      for (const [k, w] of Object.entries(byY ? { x1: this.left, x2: this.right, y1: at, y2: at } : { x1: at, x2: at, y1: this.top, y2: this.bottom })) this.hair.setAttribute(k, w);
      const parts = [];
      for (const s of this.shown()) {
        const p = this.value(s);
        if (!p) continue;
        const text = digits(byY ? p[0] : p[1]) + " " + (byY ? this.variant.x.unit : this.variant.y.unit);
        const which = s.labels ? s.labels[s.points.indexOf(p)] : "";
        this.values.get(s).textContent = text;
        parts.push((which || s.name) + ": " + text);
        const cy = byY ? this.cursor : this.sy.to(p[1]);
        const cx = byY || s.kind === "dots" ? this.sx.to(p[0]) : this.cursor;
        element("circle", { class: "dot", style: `--c: var(--series-${s.color})`, cx: this.px(cx), cy: this.py(cy), r: 4.5 }, this.dots);
      }
      for (const m of byY ? [] : this.variant.marks || []) {
        if (!hidden.has(m.series) && Math.abs(this.px(this.sx.to(m.at)) - at) < 4) parts.push(m.name);
      }
      const place = byY ? "p" + percent(this.sy.from(this.cursor)) : digits(this.sx.from(this.cursor)) + " " + this.variant.x.unit;
      this.said.setAttribute("aria-live", say ? "polite" : "off");
      this.said.textContent = place + (parts.length ? " – " + parts.join(", ") : " – nothing");
    }

    // step moves the cursor by keyboard: over percentiles that people name, over trials, or by a hundredth of the view.
    step(by) {
      const v = this.view;
      const [from, to] = this.spec.read === "y" ? [v.y0, v.y1] : [v.x0, v.x1];
      let stops = [];
      if (this.spec.read === "y") stops = [0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999].map(this.sy.to);
      else if (this.variant.series[0] && this.variant.series[0].kind === "dots") stops = this.shown().flatMap((s) => s.points.map((p) => this.sx.to(p[0])));
      stops = [...new Set(stops)].filter((s) => s >= from && s <= to).sort((a, b) => a - b);
      if (stops.length === 0) stops = Array.from({ length: 101 }, (_, i) => from + i / 100 * (to - from));
      if (this.cursor === null) this.cursor = by > 0 ? stops[0] : stops[stops.length - 1];
      else {
        const next = by > 0 ? stops.find((s) => s > this.cursor + 1e-9) : stops.filter((s) => s < this.cursor - 1e-9).pop();
        if (next !== undefined) this.cursor = next;
      }
      this.read(true);
    }

    listen() {
      const point = (e) => {
        const r = this.svg.getBoundingClientRect(), k = this.width / r.width;
        return [Math.min(this.right, Math.max(this.left, (e.clientX - r.left) * k)), Math.min(this.bottom, Math.max(this.top, (e.clientY - r.top) * k))];
      };
      let drag = null;
      this.canvas.addEventListener("pointerdown", (e) => {
        if (e.button !== 0 || e.pointerType === "touch") return;
        drag = point(e);
        this.canvas.setPointerCapture(e.pointerId);
      });
      this.canvas.addEventListener("pointermove", (e) => {
        const [x, y] = point(e);
        this.cursor = this.spec.read === "y" ? this.ty(y) : this.tx(x);
        this.read(false);
        if (!drag) return;
        for (const [k, v] of Object.entries({ x: Math.min(x, drag[0]), y: Math.min(y, drag[1]), width: Math.abs(x - drag[0]), height: Math.abs(y - drag[1]), visibility: "visible" })) this.box.setAttribute(k, v);
      });
      this.canvas.addEventListener("pointerup", (e) => {
        if (!drag) return;
        const [x, y] = point(e), [x0, y0] = drag;
        drag = null;
        this.box.setAttribute("visibility", "hidden");
        const w = Math.abs(x - x0), h = Math.abs(y - y0);
        if (w < 6 && h < 6) return;
        const v = { ...this.view };
        // A drag along one axis zooms that axis alone.
        if (w >= 6) Object.assign(v, { x0: this.tx(Math.min(x, x0)), x1: this.tx(Math.max(x, x0)) });
        if (h >= 6 && h > w / 12) Object.assign(v, { y0: this.ty(Math.max(y, y0)), y1: this.ty(Math.min(y, y0)) });
        this.view = v;
        this.draw();
      });
      this.canvas.addEventListener("pointercancel", () => { drag = null; this.box.setAttribute("visibility", "hidden"); });
      this.canvas.addEventListener("pointerleave", () => { if (!drag) { this.cursor = null; this.read(false); } });
      this.canvas.addEventListener("dblclick", () => this.reset());
      this.canvas.addEventListener("wheel", (e) => {
        if (!e.ctrlKey) return; // the wheel alone scrolls the page
        e.preventDefault();
        const [x, y] = point(e);
        this.zoom(e.deltaY > 0 ? 1.2 : 1 / 1.2, this.tx(x), this.ty(y));
      }, { passive: false });
      this.canvas.addEventListener("keydown", (e) => {
        if (e.altKey || e.metaKey || e.ctrlKey) return;
        const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
        if (arrow && e.shiftKey) this.pan(0.1 * arrow[0], 0.1 * arrow[1]);
        else if (arrow) this.step(arrow[0] + arrow[1]);
        else if (e.key === "+" || e.key === "=") this.zoom(0.8);
        else if (e.key === "-") this.zoom(1.25);
        else if (e.key === "0" || e.key === "Escape") this.reset();
        else return;
        e.preventDefault();
      });
    }
  }

  for (const spec of data) plots.push(new Plot(document.getElementById(spec.id), spec));

  // Dark, light, or as the system has it.
  const themes = ["as the system has it", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    if (theme === 0) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = themes[theme];
    button.textContent = "Colours: " + themes[theme];
  });
  for (const e of document.querySelectorAll(".scripted")) e.hidden = false;
})();
