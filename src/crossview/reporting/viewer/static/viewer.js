// The page of the viewer: the list of cases, the switches of layers, the keyboard.
"use strict";

const byId = (id) => document.getElementById(id);
const PLANES = [["3 planes", "MULTIPLANAR"], ["axial", "AXIAL"], ["coronal", "CORONAL"], ["sagittal", "SAGITTAL"], ["3D", "RENDER"]];
const settings = {}; // By the name of a layer: they stay from case to case.
const state = { index: -1, shown: null, hidden: false, plane: 0, smooth: true };
let nv, gallery, cases;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function say(text, bad = false) {
  byId("message").textContent = text;
  byId("message").className = bad ? "bad" : "";
}

async function start() {
  gallery = await (await fetch("gallery.json")).json();
  cases = new Cases(gallery.cases.length);
  document.title = `${gallery.title} · crossview`;
  byId("title").textContent = gallery.title;
  byId("about").textContent = gallery.about;
  byId("order").textContent = gallery.order;
  gallery.cases.forEach((each, index) => byId("cases").append(line(each, index)));
  nv = new niivue.Niivue({
    backColor: [14 / 255, 17 / 255, 22 / 255, 1], crosshairColor: [0.43, 0.72, 0.96, 0.55], crosshairWidth: 0.25, crosshairWidthUnit: "percent",
    fontColor: [0.93, 0.94, 0.96, 1], dragAndDropEnabled: false, isColorbar: false, show3Dcrosshair: true,
    multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS, multiplanarPadPixels: 8, viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", logLevel: "warn",
  });
  await nv.attachToCanvas(byId("canvas"));
  nv.onLocationChange = tell;
  PLANES.forEach(([name], plane) => byId("planes").append(element("button", { textContent: name, onclick: () => setPlane(plane) })));
  setPlane(0);
  byId("previous").onclick = () => show(state.index - 1);
  byId("next").onclick = () => show(state.index + 1);
  addEventListener("keydown", onKey, true);
  await show(0);
}

function line(each, index) {
  const meter = each.score === null ? [] : [element("meter", { min: 0, max: 1, value: each.score })];
  const button = element("button", { onclick: () => show(index), title: each.name },
    element("span", { className: "case", textContent: each.name }), element("span", { className: "facts", textContent: each.facts }), ...meter);
  return element("li", {}, button);
}

async function show(index) {
  if (index < 0 || index >= gallery.cases.length || index === state.index) return;
  state.index = index;
  const each = gallery.cases[index];
  const buttons = document.querySelectorAll("#cases button");
  buttons.forEach((button, place) => place === index ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current"));
  buttons[index].scrollIntoView({ block: "nearest" });
  byId("name").children[0].textContent = each.name;
  byId("name").children[1].textContent = `${index + 1} of ${gallery.cases.length}`;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === gallery.cases.length - 1;
  say(`Reading and predicting ${each.name} …`);
  document.body.dataset.ready = "";
  try {
    const opened = await cases.get(index);
    if (state.index !== index) return; // Somebody has gone on meanwhile.
    await draw(opened);
    scores(each, opened);
    say("");
    document.body.dataset.ready = index;
    cases.keepAround(index);
  } catch (error) {
    if (state.index === index) say(error instanceof TypeError ? "The viewer has ended. Start crossview view again." : error.message, true);
  }
}

async function draw(opened) {
  for (const layer of opened.layers) {
    settings[layer.name] ??= { on: layer.shown, outline: layer.outline, opacity: layer.opacity };
  }
  const volumes = await Promise.all(opened.layers.map((layer, place) => volumeOf(layer, opened.files[place], settings[layer.name])));
  state.shown = { ...opened, volumes };
  nv.volumes = volumes;
  [nv.back, ...nv.overlays] = volumes;
  nv.opts.isRadiologicalConvention = opened.oriented;
  nv.opts.isOrientationTextVisible = opened.oriented;
  byId("planes").style.display = opened.flat ? "none" : "";
  nv.opts.multiplanarShowRender = opened.flat ? niivue.SHOW_RENDER.NEVER : niivue.SHOW_RENDER.ALWAYS;
  setPlane(state.plane);
  restart();
  layers(opened);
  byId("note").textContent = opened.note;
}

// Back to the first place and size.
function restart() {
  nv.scene.crosshairPos = nv.mm2frac(state.shown.centre);
  nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
  nv.createOnLocationChange();
  nv.drawScene();
}

function setPlane(plane) {
  state.plane = plane;
  const kind = state.shown?.flat ? "AXIAL" : PLANES[plane][1];
  nv.setSliceType(nv[`sliceType${kind[0]}${kind.slice(1).toLowerCase()}`]);
  [...byId("planes").children].forEach((button, place) => button.setAttribute("aria-pressed", place === plane));
  if (state.shown) refreshAll();
}

function apply(place) {
  const layer = state.shown.layers[place], volume = state.shown.volumes[place], chosen = settings[layer.name];
  volume.opacity = chosen.on && (place === 0 || !state.hidden) ? chosen.opacity : 0;
}

function refreshAll() {
  state.shown.volumes.forEach((_, place) => apply(place));
  nv.updateGLVolume();
  // In 3D the scan would hide the structures in it.
  nv.renderShader.use(nv.gl);
  nv.gl.uniform1f(nv.renderShader.uniforms.backOpacity, 0);
  nv.drawScene();
  nv.createOnLocationChange();
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
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: chosen.opacity, "aria-label": `Opacity of ${layer.name}` });
  slider.oninput = () => { chosen.opacity = Number(slider.value); refreshAll(); };
  const more = element("div", { className: "more" });
  if (layer.about) more.append(element("p", { textContent: layer.about }));
  if (place > 0) more.append(keys(layer), element("div", { className: "row" }, "opacity", slider, ...outline(layer, place)));
  whole.append(element("label", { className: "name" }, box, layer.name, element("kbd", { textContent: place + 1 })), more);
  return whole;
}

function outline(layer, place) {
  if (layer.kind !== "classes") return [];
  const box = element("input", { type: "checkbox", checked: settings[layer.name].outline });
  box.onchange = () => { setOutline(place, box.checked); layers(state.shown); };
  return [element("label", {}, box, " outline")];
}

function setOutline(place, on) {
  const layer = state.shown.layers[place];
  settings[layer.name].outline = on;
  paint(state.shown.volumes[place], layer, on);
  refreshAll();
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
  const rows = [...(each.facts ? [[each.facts.replace(/ [\d.]+.*$/, ""), each.facts.replace(/^\D+/, "")]] : []), ...each.details];
  const table = element("table", {}, ...rows.map(([name, text]) => element("tr", {}, element("td", { textContent: name }), element("td", { textContent: text }))));
  byId("scores").replaceChildren(...(rows.length ? [element("p", { className: "heading", textContent: "Scores" }), table] : []));
}

// Say what is under the crosshair.
function tell(location) {
  if (!state.shown) return;
  const [x, y, z] = location.mm;
  const { oriented, flat, layers: all, volumes } = state.shown;
  const towards = (value, low, high) => `${value < 0 ? low : high} ${Math.abs(value).toFixed(1)}`;
  byId("where").textContent = oriented ? `${towards(x, "L", "R")}  ${towards(y, "P", "A")}  ${towards(z, "I", "S")} mm` : [x, y, ...(flat ? [] : [z])].map((value) => value.toFixed(0)).join(", ");
  const vox = volumes[0].mm2vox([x, y, z]).map(Math.round);
  const [, width, height] = volumes[0].hdr.dims;
  const at = vox[0] + width * (vox[1] + height * vox[2]);
  byId("values").replaceChildren(...all.map((layer, place) => said(layer, volumes[place], at, location.values[place])).filter(Boolean));
}

function said(layer, volume, at, shown) {
  if (!settings[layer.name].on || (layer.kind === "scan" && !layer.limits)) return null;
  let text;
  if (layer.kind === "scan") text = Number(shown.value.toPrecision(4)).toString();
  else if (layer.kind === "map") text = (volume.values[at] / 255).toFixed(2);
  else text = (layer.keys.find(([value]) => value === volume.values[at]) ?? [0, layer.name === "errors" ? "none" : "background"])[1];
  return element("span", {}, element("i", { textContent: `${layer.name} ` }), text);
}

const KEYS = {
  ArrowRight: () => show(state.index + 1),
  ArrowLeft: () => show(state.index - 1),
  ArrowUp: () => nv.moveCrosshairInVox(...step(1)),
  ArrowDown: () => nv.moveCrosshairInVox(...step(-1)),
  " ": () => { state.hidden = !state.hidden; refreshAll(); },
  o: () => { const on = !anyOutline(); state.shown.layers.forEach((layer, place) => layer.kind === "classes" && setOutline(place, on)); layers(state.shown); },
  v: () => setPlane((state.plane + 1) % PLANES.length),
  s: () => { state.smooth = !state.smooth; nv.setInterpolation(!state.smooth); },
  r: () => restart(),
};

function step(sign) {
  const by = sign * state.shown.fine; // One voxel of the scan itself.
  return { CORONAL: [0, by, 0], SAGITTAL: [by, 0, 0] }[PLANES[state.plane][1]] ?? [0, 0, by];
}

function anyOutline() {
  return state.shown.layers.some((layer) => layer.kind === "classes" && settings[layer.name].on && settings[layer.name].outline);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.shown) return;
  const slider = event.target.type === "range" && event.key.startsWith("Arrow");
  const place = Number(event.key) - 1;
  if (slider) return;
  if (KEYS[event.key]) KEYS[event.key]();
  else if (place >= 0 && place < state.shown.layers.length) byId("layers").children[place].querySelector("input").click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

start().catch((error) => say(`${error.message}\nThe viewer needs WebGL 2: try another browser, or update this one.`, true));
