// Draws the front with plotly in place of the still drawing. Colours in the figure are names of
// the page's CSS variables; they are read again when the reader changes between light and dark.
(() => {
  const host = document.getElementById("front-plot");
  const figure = JSON.parse(document.getElementById("front-figure").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const coloured = (value, style) => {
    if (typeof value === "string" && value.startsWith("--")) return style.getPropertyValue(value).trim();
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
  };

  const draw = () => {
    const { data, layout } = coloured(figure, getComputedStyle(document.documentElement));
    // On a touch screen a drag scrolls the page; zooming stays with mouse and trackpad.
    layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    return Plotly.react(host, data, layout, { responsive: true, displayModeBar: false });
  };

  document.documentElement.classList.add("has-plot");
  Promise.resolve().then(draw).then(
    () => dark.addEventListener("change", draw),
    () => document.documentElement.classList.remove("has-plot"),
  );
})();
