// Cases and their layers: fetched from the server, and turned into NiiVue's volumes.
"use strict";

// Return a case with the NIfTI files of its layers. The server predicts it first where needed.
async function fetchCase(index) {
  const facts = await (await fetch(`${index}.json`)).json();
  if (facts.error) throw new Error(facts.error);
  const fetched = facts.layers.map(async (layer, place) => {
    const answer = await fetch(`${index}/${place}.nii`);
    if (!answer.ok) throw new Error(`the layer ${layer.name} could not be read`);
    return answer.arrayBuffer();
  });
  return { ...facts, files: await Promise.all(fetched) };
}

// The cases next to the one shown are fetched beforehand; others are dropped.
class Cases {
  constructor(count) {
    this.count = count;
    this.kept = new Map();
  }

  get(index) {
    if (!this.kept.has(index)) {
      const coming = fetchCase(index);
      coming.catch(() => this.kept.delete(index));
      this.kept.set(index, coming);
    }
    return this.kept.get(index);
  }

  keepAround(index) {
    for (const other of [...this.kept.keys()])
      if (Math.abs(other - index) > 1) this.kept.delete(other);
    if (index + 1 < this.count) this.get(index + 1).catch(() => {});
  }
}

function rgb(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}

// Return a layer as NiiVue's volume. Classes and maps become colours here, so that each class has
// the colour of the report, and outlines are one voxel wide.
async function volumeOf(layer, file, settings, across) {
  const volume = await niivue.NVImage.loadFromUrl({
    url: file.slice(0),
    name: `${layer.name}.nii`,
    colormap: "gray",
    cal_min: layer.limits ? layer.limits[0] : 0,
    cal_max: layer.limits ? layer.limits[1] : 255,
  });
  if (layer.kind !== "scan") {
    volume.values = volume.img;
    paint(volume, layer, settings.outline, across);
  }
  volume.opacity = settings.on ? settings.opacity : 0;
  return volume;
}

const RGBA = 2304;

// Colour the volume of a layer, and tell NiiVue that it holds colours.
// across: the axis of space that the only plane shown is perpendicular to; -1 for all planes.
function paint(volume, layer, outline, across) {
  const colours = new Uint8Array(volume.values.length * 4);
  const table = layer.kind === "map" ? ramp(layer.keys[0][2]) : palette(layer.keys);
  const words = new Uint32Array(colours.buffer);
  const seen =
    layer.kind === "classes" && outline
      ? edges(volume.values, volume.hdr.dims, axesOf(volume, across))
      : volume.values;
  for (let voxel = 0; voxel < words.length; voxel++) words[voxel] = table[seen[voxel]];
  volume.img = colours;
  volume.hdr.datatypeCode = RGBA;
  volume.hdr.numBitsPerVoxel = 32;
}

// Colours by value as 32-bit words, red in the lowest byte, as in the memory of all usual machines.
function word([red, green, blue], alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function palette(keys) {
  const table = new Uint32Array(256);
  for (const [value, , colour] of keys) table[value] = word(rgb(colour), 255);
  return table;
}

// The opacity rises with the root, so that small values show too.
function ramp(colour) {
  return Uint32Array.from({ length: 256 }, (_, value) =>
    word(rgb(colour), Math.round(255 * Math.sqrt(value / 255))),
  );
}

// Return the axes of the array along which neighbours are compared. In a single plane those across
// it are not: a face that lies in the plane would fill it.
function axesOf(volume, across) {
  const left = across < 0 ? -1 : Math.abs(volume.permRAS[across]) - 1;
  return [0, 1, 2].filter((axis) => axis !== left);
}

// Return the classes where a neighbour along one of the axes is another class, else 0. The edge of
// the volume counts as a neighbour of the same class.
function edges(values, dims, axes) {
  const [, width, height, depth] = dims;
  const sides = [width, height, depth],
    strides = [1, width, width * height];
  const found = new Uint8Array(values.length);
  const at = [0, 0, 0];
  for (let voxel = 0; voxel < values.length; voxel++) {
    const value = values[voxel];
    if (value) {
      at[0] = voxel % width;
      at[1] = Math.floor(voxel / width) % height;
      at[2] = Math.floor(voxel / strides[2]);
      for (const axis of axes) {
        const before = at[axis] > 0 && values[voxel - strides[axis]] !== value;
        const after = at[axis] < sides[axis] - 1 && values[voxel + strides[axis]] !== value;
        if (before || after) found[voxel] = value;
      }
    }
  }
  return found;
}
