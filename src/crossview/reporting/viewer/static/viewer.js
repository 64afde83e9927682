// The page of the viewer: the list of cases, the planes, the keyboard.
"use strict";

const PLANES = [
  ["3 planes", "MULTIPLANAR"],
  ["axial", "AXIAL"],
  ["coronal", "CORONAL"],
  ["sagittal", "SAGITTAL"],
  ["3D", "RENDER"],
];
const state = { index: -1, shown: null, hidden: false, plane: 0, smooth: true };
let nv, gallery, cases;

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
    backColor: [14 / 255, 17 / 255, 22 / 255, 1],
    crosshairColor: [0.43, 0.72, 0.96, 0.55],
    crosshairWidth: 0.25,
    crosshairWidthUnit: "percent",
    fontColor: [0.93, 0.94, 0.96, 1],
    dragAndDropEnabled: false,
    isColorbar: false,
    show3Dcrosshair: true,
    multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
    multiplanarPadPixels: 8,
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    logLevel: "warn",
  });
  await nv.attachToCanvas(byId("canvas"));
  nv.onLocationChange = tell;
  PLANES.forEach(([name], plane) =>
    byId("planes").append(element("button", { textContent: name, onclick: () => setPlane(plane) })),
  );
  setPlane(0);
  byId("previous").onclick = () => show(state.index - 1);
  byId("next").onclick = () => show(state.index + 1);
  addEventListener("keydown", onKey, true);
  await show(0);
}

function line(each, index) {
  const meter =
    each.score === null ? [] : [element("meter", { min: 0, max: 1, value: each.score })];
  const button = element(
    "button",
    { onclick: () => show(index), title: each.name },
    element("span", { className: "case", textContent: each.name }),
    ...meter,
    element("span", { className: "facts", textContent: each.facts }),
  );
  return element("li", {}, button);
}

async function show(index) {
  if (index < 0 || index >= gallery.cases.length || index === state.index) return;
  state.index = index;
  const each = gallery.cases[index];
  const buttons = document.querySelectorAll("#cases button");
  buttons.forEach((button, place) =>
    place === index
      ? button.setAttribute("aria-current", "true")
      : button.removeAttribute("aria-current"),
  );
  buttons[index].scrollIntoView({ block: "nearest" });
  byId("name").children[0].textContent = each.name;
  byId("name").children[1].textContent = `${index + 1} of ${gallery.cases.length}`;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === gallery.cases.length - 1;
  say(`Reading and predicting ${each.name} …`);
  const watch = setInterval(() => follow(index), 1000);
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
    if (state.index === index)
      say(
        error instanceof TypeError
          ? "The viewer has ended. Start crossview view again."
          : error.message,
        true,
      );
  } finally {
    clearInterval(watch);
  }
}

// Say how far the prediction of a case is, while it is waited for.
async function follow(index) {
  const found = await (await fetch("progress.json")).json();
  const waiting =
    document.body.dataset.ready === "" && state.index === index && found.index === index;
  if (waiting && found.done < found.total) {
    say(
      `Predicting ${gallery.cases[index].name}: ${Math.floor((100 * found.done) / found.total)} %`,
    );
  }
}

async function draw(opened) {
  for (const layer of opened.layers) {
    settings[layer.name] ??= { on: layer.shown, outline: layer.outline, opacity: layer.opacity };
  }
  const volumes = await Promise.all(
    opened.layers.map((layer, place) =>
      volumeOf(layer, opened.files[place], settings[layer.name], across()),
    ),
  );
  state.shown = { ...opened, volumes };
  nv.volumes = volumes;
  [nv.back, ...nv.overlays] = volumes;
  nv.opts.isRadiologicalConvention = opened.oriented;
  nv.opts.isOrientationTextVisible = opened.oriented;
  byId("planes").style.display = opened.flat ? "none" : "";
  nv.opts.multiplanarShowRender = opened.flat
    ? niivue.SHOW_RENDER.NEVER
    : niivue.SHOW_RENDER.ALWAYS;
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

// The axis of space that the only plane shown is perpendicular to; -1 if there are several.
function across() {
  return ["SAGITTAL", "CORONAL", "AXIAL"].indexOf(PLANES[state.plane][1]);
}

function setPlane(plane) {
  const before = across();
  state.plane = plane;
  if (state.shown && across() !== before) repaint();
  const kind = state.shown?.flat ? "AXIAL" : PLANES[plane][1];
  nv.setSliceType(nv[`sliceType${kind[0]}${kind.slice(1).toLowerCase()}`]);
  [...byId("planes").children].forEach((button, place) =>
    button.setAttribute("aria-pressed", place === plane),
  );
  if (state.shown) refreshAll();
}

function apply(place) {
  const layer = state.shown.layers[place],
    volume = state.shown.volumes[place],
    chosen = settings[layer.name];
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

function repaint() {
  state.shown.layers.forEach((layer, place) => {
    if (layer.kind === "classes" && settings[layer.name].outline)
      paint(state.shown.volumes[place], layer, true, across());
  });
}

function setOutline(place, on) {
  const layer = state.shown.layers[place];
  settings[layer.name].outline = on;
  paint(state.shown.volumes[place], layer, on, across());
  refreshAll();
}

const KEYS = {
  ArrowRight: () => show(state.index + 1),
  ArrowLeft: () => show(state.index - 1),
  ArrowUp: () => nv.moveCrosshairInVox(...oneSlice(1)),
  ArrowDown: () => nv.moveCrosshairInVox(...oneSlice(-1)),
  " ": () => {
    state.hidden = !state.hidden;
    refreshAll();
  },
  o: () => {
    const on = !anyOutline();
    state.shown.layers.forEach((layer, place) => layer.kind === "classes" && setOutline(place, on));
    layers(state.shown);
  },
  v: () => setPlane((state.plane + 1) % PLANES.length),
  s: () => {
    state.smooth = !state.smooth;
    nv.setInterpolation(!state.smooth);
  },
  r: () => restart(),
  c: () => nv.setCrosshairWidth(nv.opts.crosshairWidth ? 0 : 0.25),
};

function oneSlice(sign) {
  const by = sign * state.shown.fine; // One voxel of the scan itself.
  return { CORONAL: [0, by, 0], SAGITTAL: [by, 0, 0] }[PLANES[state.plane][1]] ?? [0, 0, by];
}

function anyOutline() {
  return state.shown.layers.some(
    (layer) => layer.kind === "classes" && settings[layer.name].on && settings[layer.name].outline,
  );
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.shown) return;
  const slider = event.target.type === "range" && event.key.startsWith("Arrow");
  const place = Number(event.key) - 1;
  if (slider) return;
  if (KEYS[event.key]) KEYS[event.key]();
  else if (place >= 0 && place < state.shown.layers.length)
    byId("layers").children[place].querySelector("input").click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

start().catch((error) =>
  say(`${error.message}\nThe viewer needs WebGL 2: try another browser, or update this one.`, true),
);
