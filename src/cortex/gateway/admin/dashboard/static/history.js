// Draws the plots of a page from series that the gateway sends, and draws them again when there are newer ones or the
// theme has changed. What they show stands beside each as a table, which this does not touch.
"use strict";

(() => {
  const holder = document.getElementById("live");
  const trouble = document.getElementById("plot-trouble");
  const drawn = new Map();
  const EVERY_MS = 10000;
  let data = null;

  const THIN = "\u202f";
  const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
  function amount(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "mb") return value < 1024 ? `${value.toFixed(0)}${THIN}MiB` : `${(value / 1024).toFixed(1)}${THIN}GiB`;
    if (unit === "s") return value < 1 ? `${+(value * 1000).toPrecision(3)}${THIN}ms` : `${+value.toPrecision(3)}${THIN}s`;
    if (unit === "w") return `${value.toFixed(0)}${THIN}W`;
    return compact.format(value);
  }

  // A colour as the canvas wants it: what the style sheet makes of a class, in the theme that holds now.
  function colour(name, of) {
    const probe = document.createElement("i");
    probe.className = name;
    document.body.append(probe);
    const found = getComputedStyle(probe)[of];
    probe.remove();
    return found;
  }

  function options(plot, width) {
    const line = colour("plot-grid", "color"), text = colour("plot-text", "color");
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    return {
      width, height: 190,
      cursor: { points: { size: 6 }, drag: { x: true, y: false } },
      scales: { x: { time: true, range: visible }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      legend: { live: true },
      axes: [axis, { ...axis, size: 74, values: (_, ticks) => ticks.map((tick) => amount(tick, plot.unit)) }],
      series: [
        { value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" },
        ...plot.lines.map((one, number) => ({
          label: one.label, stroke: colour(`hue-${number % 8}`, "backgroundColor"), width: 1.5, spanGaps: false,
          dash: number >= 8 ? [6, 4] : undefined, points: { size: 4, filter: () => lonely(one.values) },
          value: (_, value) => amount(value, plot.unit),
        })),
      ],
    };
  }

  // Single values between gaps would not be seen as a line.
  function lonely(values) {
    const isGap = (at) => (values[at] ?? null) === null;
    return values.flatMap((value, at) => (value !== null && isGap(at - 1) && isGap(at + 1) ? [at] : []));
  }

  // From the first thing that is known on, but a sixth of the span at least: a gateway may have started just now.
  function visible(chart, low, high) {
    const [begin, end] = [chart.data[0][0], chart.data[0].at(-1)];
    if (low > begin || high < end || begin === undefined) return [low, high];
    const known = chart.data.slice(1).map((values) => values.findIndex((value) => value !== null)).filter((at) => at >= 0);
    const first = known.length ? chart.data[0][Math.min(...known)] : begin;
    return [Math.max(begin, Math.min(first, end - (end - begin) / 6)), end];
  }

  function draw(isAnew) {
    if (!data) return;
    const times = data.plots[0]?.lines[0]?.values.map((_, at) => data.start_epoch_s + at * data.step_s) ?? [];
    for (const plot of data.plots) {
      const place = document.querySelector(`[data-plot="${CSS.escape(plot.name)}"]`);
      if (!place) continue;
      const shape = plot.lines.map((line) => line.label).join("\n");
      const known = drawn.get(plot.name);
      const series = [times, ...plot.lines.map((line) => line.values)];
      if (known && known.place === place && known.shape === shape && !isAnew) {
        known.chart.setData(series);
        continue;
      }
      known?.chart.destroy();
      place.replaceChildren();
      drawn.set(plot.name, { chart: new uPlot(options(plot, place.clientWidth || 600), series, place), place, shape });
    }
  }

  async function read() {
    const source = document.getElementById("plots")?.dataset.source;
    if (!source || document.hidden) return;
    try {
      const answer = await fetch(source, { headers: { accept: "application/json" } });
      if (answer.redirected || answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
      data = await answer.json();
      trouble.textContent = "";
      draw(false);
    } catch (error) {
      trouble.textContent = `The plots are not up to date: ${error.message}.`;
    }
  }

  document.addEventListener("cortex:theme", () => draw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
  document.addEventListener("visibilitychange", read);
  document.addEventListener("htmx:after:swap", (event) => {
    if (holder?.contains(event.target) || event.target === holder) draw(false);
  });
  new ResizeObserver(() => {
    for (const { chart, place } of drawn.values()) {
      if (place.clientWidth && chart.width !== place.clientWidth) chart.setSize({ width: place.clientWidth, height: 190 });
    }
  }).observe(holder);
  setInterval(read, EVERY_MS);
  read();
})();
