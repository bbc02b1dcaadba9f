"use strict";
// Everything here only makes complete pages more comfortable.

// Forms that answer at once: changing a field asks.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form && form.checkValidity()) form.requestSubmit();
});

// At most four rows are compared.
document.addEventListener("change", (event) => {
  if (!event.target.matches('input[form="compare"]')) return;
  const chosen = document.querySelectorAll('input[form="compare"]:checked');
  if (chosen.length > 4) event.target.checked = false;
});

// A mark of the scatter leads to its row.
document.addEventListener("click", (event) => {
  const mark = event.target.closest("[data-href]");
  if (mark) window.location.assign(mark.dataset.href);
});

// The theme changes without a new page; the cookie keeps it.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.theme") || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  const body = new URLSearchParams({ theme, back: "/theme.css" });
  fetch("/theme", { method: "POST", body }).catch(() => {});
  document.documentElement.style.colorScheme = theme === "auto" ? "light dark" : theme;
  for (const button of event.target.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === event.submitter));
  }
  setTimeout(() => zoomAll(true), 50);
});

// Instants also in the reader's own time.
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = "your time: " + at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    }
  }
}

// Curves that can be zoomed, drawn over the server's picture of the same points.
function zoomAll(again) {
  if (!window.uPlot) return;
  for (const box of document.querySelectorAll("[data-zoom]")) {
    const chart = box.querySelector(".chart");
    if (chart.classList.contains("zoomed")) {
      if (!again) continue;
      chart.querySelector(".uplot").remove();
    }
    const points = [...box.querySelectorAll(".points li")];
    const data = [points.map((p) => Number(p.dataset.x)), points.map((p) => Number(p.dataset.y))];
    const style = getComputedStyle(document.documentElement);
    const probe = document.createElement("i");
    document.body.append(probe);
    const colour = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: `12px ${style.fontFamily}` };
    const { width, height } = chart.getBoundingClientRect();
    chart.classList.add("zoomed");
    new window.uPlot(
      {
        width: Math.floor(width),
        height: Math.floor(height),
        legend: { show: false },
        scales: { x: { time: false }, y: { range: (_, low, high) => [0, high * 1.08] } },
        axes: [axis, { ...axis, label: box.dataset.zoom, labelSize: 18, labelFont: axis.font }],
        series: [{}, { label: box.dataset.zoom, stroke: colour("--accent"), width: 1.2, points: { show: false } }],
      },
      data,
      chart,
    );
    probe.remove();
  }
}

function ready() {
  localTimes(document);
  zoomAll(false);
}
document.addEventListener("DOMContentLoaded", ready);
document.addEventListener("htmx:afterSwap", ready);
