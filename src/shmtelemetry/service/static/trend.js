// A line in a cell of a table: how a figure was over the time window.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [100, 20, 1];

export function drawTrend(cell, times, values, begin, end) {
  if (!cell.firstChild) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "trend");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true"); // the figures beside it say the same
    svg.append(document.createElementNS(SVG, "polyline"));
    cell.append(svg);
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const range = high - low || 1;
  const points = values.map((value, at) => {
    const x = ((times[at] - begin) / (end - begin)) * WIDTH;
    const y = high === low ? HEIGHT / 2 : HEIGHT - EDGE - ((value - low) / range) * (HEIGHT - 2 * EDGE);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  cell.firstChild.firstChild.setAttribute("points", points.join(" "));
}
