// Live figures without a kernel or a library: a range input chooses a budget; the page draws what was computed
// for it and says the sentence that was written for it, so that its digits are those of the tables.
(() => {
  "use strict";
  if (window.moebookLive) { window.moebookLive(); return; }
  const SVG = "http://www.w3.org/2000/svg";
  const W = 560, H = 280, LEFT = 58, RIGHT = 30, TOP = 46, BOTTOM = 50;

  const node = (parent, name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };

  const power = (value) => {
    const [digits, exponent] = value.toExponential(1).split("e");
    const raised = String(+exponent).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
    return (digits === "1.0" ? "" : digits.replace(".0", "") + "·") + "10" + raised;
  };
  const fractionText = (k) => (k === 0 ? "0" : `${2 ** k - 1}/${2 ** k}`);

  const frame = (svg, yLabel, xTop) => {
    svg.replaceChildren();
    const x = (value) => LEFT + (W - LEFT - RIGHT) * value / xTop;
    node(svg, "line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM });
    for (let k = 0; k <= xTop + 1e-9; k++) {
      node(svg, "line", { class: "axis", x1: x(k), x2: x(k), y1: H - BOTTOM, y2: H - BOTTOM + 5 });
      node(svg, "text", { x: x(k), y: H - BOTTOM + 19, "text-anchor": "middle" }, fractionText(k));
    }
    node(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle" }, "sparsity S = (E − K)/E");
    node(svg, "text", { x: 4, y: 16 }, yLabel);
    return x;
  };

  const kinds = {
    // data.draws[budget][draw]: hundredths of log2(1/(1 - S*)); data.quantiles[budget]: 5, 25, 50, 75, 95 % of it
    // data.edge[budget]: share of all draws at the largest sparsity tried, which has a bar of its own
    posterior(data, svg, index) {
      const draws = data.draws[index].map((value) => value / 100);
      const [low, lower, middle, upper, high] = data.quantiles[index];
      const x = frame(svg, "share of draws", data.top);
      const bins = Math.round(data.top * 6), shares = new Array(bins).fill(0);
      const edge = data.edge[index], below = draws.filter((value) => value < data.top - 0.0051);
      for (const value of below) shares[Math.min(bins - 1, Math.floor(value / data.top * bins))] += (1 - edge) / below.length;
      const most = Math.max(...shares, edge, 0.2), y = (share) => H - BOTTOM - (H - BOTTOM - TOP - 6) * share / most;
      for (let tick = 0; tick <= most + 1e-9; tick += most > 0.5 ? 0.25 : 0.1) {
        node(svg, "line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick) });
        node(svg, "text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, `${Math.round(tick * 100)}\u00a0%`);
      }
      shares.forEach((share, i) => node(svg, "rect", {
        class: "bar", x: x(i / 6) + 1, width: x(1 / 6) - x(0) - 2, y: y(share), height: H - BOTTOM - y(share) }));
      if (edge > 0) {
        node(svg, "rect", { class: "bar edge", x: W - RIGHT + 3, width: x(1 / 6) - x(0) - 2, y: y(edge), height: H - BOTTOM - y(edge) });
        node(svg, "text", { class: "edge", x: W - 4, y: 16, "text-anchor": "end" }, "hollow bar: at the largest sparsity tried");
      }
      const line = TOP - 12;
      node(svg, "line", { class: "wide", x1: x(low), x2: x(high), y1: line, y2: line });
      node(svg, "line", { class: "narrow", x1: x(lower), x2: x(upper), y1: line, y2: line });
      node(svg, "circle", { class: "median", cx: x(middle), cy: line, r: 5.5 });
    },
    // data.middle|low|high[budget][point]: ten-thousandths of a nat per byte, at sparsities data.x (doublings)
    isoflop(data, svg, index) {
      const [middle, low, high] = [data.middle, data.low, data.high].map((rows) => rows[index].map((v) => v / 1e4));
      const x = frame(svg, "loss at the best size (nats per byte)", data.top);
      const floor = Math.min(...low), ceiling = Math.max(...high), span = ceiling - floor || 1;
      const y = (loss) => H - BOTTOM - 6 - (H - BOTTOM - TOP - 12) * (loss - floor) / span;
      const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((each) => span / each < 6) || 1;
      for (let n = Math.ceil(floor / step); n * step <= ceiling; n++) {
        node(svg, "line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(n * step), y2: y(n * step) });
        node(svg, "text", { x: LEFT - 6, y: y(n * step) + 4, "text-anchor": "end" }, (n * step).toFixed(2));
      }
      const points = (values) => values.map((value, i) => `${x(data.x[i]).toFixed(1)},${y(value).toFixed(1)}`);
      node(svg, "polygon", { class: "band", points: [...points(high), ...points(low).reverse()].join(" ") });
      node(svg, "polyline", { class: "curve", points: points(middle).join(" ") });
      const best = middle.indexOf(Math.min(...middle));
      node(svg, "circle", { class: "median", cx: x(data.x[best]), cy: y(middle[best]), r: 5.5 });
    },
  };

  const start = (root) => {
    if (root.dataset.ready) return;
    root.dataset.ready = "yes";
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const input = root.querySelector("input"), output = root.querySelector("output"), svg = root.querySelector("svg");
    const update = () => {
      const index = +input.value;
      input.setAttribute("aria-valuetext", `${power(data.budgets[index])} FLOPs`);
      kinds[data.kind](data, svg, index);
      output.textContent = data.said[index];
      svg.setAttribute("aria-label", data.said[index]);
    };
    input.addEventListener("input", update);
    root.querySelector(".mb-control").hidden = false;
    update();
  };
  window.moebookLive = () => document.querySelectorAll(".mb-live").forEach(start);
  window.moebookLive();
})();
