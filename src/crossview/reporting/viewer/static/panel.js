// What stands beside the picture: the switches of layers, scores, and the values at the crosshair.
"use strict";

const byId = (id) => document.getElementById(id);

const settings = {}; // By the name of a layer: they stay from case to case.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function layers(opened) {
  byId("layers").replaceChildren(...opened.layers.map((layer, place) => switches(layer, place)));
}

function switches(layer, place) {
  const chosen = settings[layer.name];
  const box = element("input", { type: "checkbox", checked: chosen.on });
  const whole = element("div", { className: chosen.on ? "layer on" : "layer" });
  box.onchange = () => {
    chosen.on = box.checked;
    whole.classList.toggle("on", chosen.on);
    refreshAll();
  };
  const slider = element("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 0.05,
    value: chosen.opacity,
    "aria-label": `Opacity of ${layer.name}`,
  });
  slider.oninput = () => {
    chosen.opacity = Number(slider.value);
    refreshAll();
  };
  const more = element("div", { className: "more" });
  if (layer.about) more.append(element("p", { textContent: layer.about }));
  if (place > 0)
    more.append(
      keys(layer),
      element("div", { className: "row" }, "opacity", slider, ...outline(layer, place)),
    );
  whole.append(
    element(
      "label",
      { className: "name" },
      box,
      layer.name,
      element("kbd", { textContent: place + 1 }),
    ),
    more,
  );
  return whole;
}

function outline(layer, place) {
  if (layer.kind !== "classes") return [];
  const box = element("input", { type: "checkbox", checked: settings[layer.name].outline });
  box.onchange = () => {
    setOutline(place, box.checked);
    layers(state.shown);
  };
  return [element("label", {}, box, " outline")];
}

function keys(layer) {
  if (layer.kind === "scan") return "";
  if (layer.kind === "map") {
    const bar = element("span", { className: "ramp" });
    bar.style.background = `linear-gradient(90deg, transparent, ${layer.keys[0][2]})`;
    return element("ul", {}, element("li", {}, bar, "0 to 1"));
  }
  const rows = layer.keys.map(([, name, colour]) => {
    const swatch = element("span", { className: "swatch" });
    swatch.style.borderColor = colour;
    if (!settings[layer.name].outline) swatch.style.background = colour;
    return element("li", {}, swatch, name);
  });
  return element("ul", {}, ...(rows.length ? rows : [element("li", { textContent: "none" })]));
}

function scores(each, opened) {
  const rows = [
    ...(each.facts ? [[each.facts.replace(/ [\d.]+.*$/, ""), each.facts.replace(/^\D+/, "")]] : []),
    ...each.details,
  ];
  const table = element(
    "table",
    {},
    ...rows.map(([name, text]) =>
      element("tr", {}, element("td", { textContent: name }), element("td", { textContent: text })),
    ),
  );
  byId("scores").replaceChildren(
    ...(rows.length ? [element("p", { className: "heading", textContent: "Scores" }), table] : []),
  );
}

// Say what is under the crosshair.
function tell(location) {
  if (!state.shown) return;
  const [x, y, z] = location.mm;
  const { oriented, flat, fine, step, layers: all, volumes } = state.shown;
  const towards = (value, low, high) => `${value < 0 ? low : high} ${Math.abs(value).toFixed(1)}`;
  const vox = volumes[0].mm2vox([x, y, z]).map(Math.round);
  const [, width, height] = volumes[0].hdr.dims;
  // Rows are counted from the top, where the array begins.
  const [column, row, slice] = [vox[0], height - 1 - vox[1], vox[2]].map(
    (value) => Math.floor(value / fine) * step,
  );
  byId("where").textContent = oriented
    ? `${towards(x, "L", "R")}  ${towards(y, "P", "A")}  ${towards(z, "I", "S")} mm`
    : `column ${column}  row ${row}${flat ? "" : `  slice ${slice}`}`;
  const at = vox[0] + width * (vox[1] + height * vox[2]);
  byId("values").replaceChildren(
    ...all
      .map((layer, place) => said(layer, volumes[place], at, location.values[place]))
      .filter(Boolean),
  );
}

function said(layer, volume, at, shown) {
  if (!settings[layer.name].on || (layer.kind === "scan" && !layer.limits)) return null;
  let text;
  if (layer.kind === "scan") text = Number(shown.value.toPrecision(4)).toString();
  else if (layer.kind === "map") text = (volume.values[at] / 255).toFixed(2);
  else
    text = (layer.keys.find(([value]) => value === volume.values[at]) ?? [
      0,
      layer.name === "errors" ? "none" : "background",
    ])[1];
  return element("span", {}, element("i", { textContent: `${layer.name} ` }), text);
}
