// The viewer in the page, the counterpart of page_viewer.py: keeps the volume, and draws one
// picture of it at a time. Plain JavaScript: no build step, no library, nothing fetched.

const AT_ONCE = 8; // slices asked for in one message
const IN_FLIGHT = 2; // messages not yet answered: more would hold up what other cells print
const QUIET_MS = 150; // from the last step until Python gets the changes

const EDGES = ["left", "right", "top", "bottom"];
const KEYS = [
  ["wheel, ↑ ↓, Page Up/Down, Home/End", "slice"],
  ["drag, c C, w W", "window: up and down the centre, across the width"],
  ["1 2 3", "window for lung, soft tissue, bone"],
  ["shift and drag, shift and arrows", "move the picture"],
  ["ctrl and wheel, + −", "magnify"],
  ["a s f, or p", "axial, sagittal, coronal (frontal), or the next plane"],
  ["o; [ ]", "overlay on or off; fainter or stronger"],
  ["x", "a point with its value; then click, or ← → ↑ ↓, to move it; x ends it"],
  ["double click, r", "reset window, place and size"],
  ["?", "these keys; Escape or ? closes them"],
];

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Rounds halves to even, as numpy does
function rint(x) {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

// Step by step the arithmetic of `window` in rendering/windowing.py, in double precision, so that
// each level is the same
function greyLevels(values, center, width) {
  const grey = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const offset = values[i] - (center - 0.5);
    if (width === 1) grey[i] = offset > 0 ? 255 : 0;
    else grey[i] = rint(clamp(offset * (255 / (width - 1)) + 127.5, 0, 255));
  }
  return grey;
}

// Colours (RGBA) of grey levels outside the lungs, inside them, and on their outline, as `palette`
// in rendering/overlay.py gives them
function palette(study, opacity) {
  const colours = new Uint8Array(3 * 256 * 4);
  for (let kind = 0; kind < 3; kind++) {
    for (let grey = 0; grey < 256; grey++) {
      const colour = [[grey, grey, grey], study.tint[grey], study.outline][kind];
      const at = (kind * 256 + grey) * 4;
      for (let i = 0; i < 3; i++) colours[at + i] = rint(grey + opacity * (colour[i] - grey));
      colours[at + 3] = 255;
    }
  }
  return colours;
}

// ---- the slices that have come; one store for each widget, however often it is shown

function createStore(model) {
  const study = model.get("_study");
  const [slices, rows, columns] = study.shape;
  const store = {
    study,
    values: null,
    codes: new Uint16Array(slices * rows * columns),
    labels: study.labels ? new Uint8Array(slices * rows * columns) : null,
    have: new Uint8Array(slices),
    count: 0,
    listeners: new Set(),
  };
  const asked = new Uint8Array(Math.ceil(slices / AT_ONCE));

  function askForSlices() {
    const middle = model.get("position")[0];
    let nearest = -1;
    const distance = (chunk) => Math.abs((chunk + 0.5) * AT_ONCE - 0.5 - middle);
    for (let i = 0; i < asked.length; i++) {
      if (!asked[i] && (nearest < 0 || distance(i) < distance(nearest))) nearest = i;
    }
    if (nearest < 0) return;
    asked[nearest] = 1;
    const first = nearest * AT_ONCE;
    model.send({ first, count: Math.min(AT_ONCE, slices - first) });
  }

  async function receive(message, buffers) {
    const bytes = buffers.map((buffer) =>
      buffer instanceof DataView
        ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
        : new Uint8Array(buffer));
    if (message.values) {
      // a copy, because a view must begin at a multiple of 8
      store.values = new Float64Array(bytes[0].slice().buffer);
    } else if (!store.have[message.first]) {
      askForSlices();
      const start = message.first * rows * columns;
      store.codes.set(new Uint16Array(bytes[0].slice().buffer), start);
      if (store.labels) {
        const inflate = new DecompressionStream("deflate");
        const stream = new Blob([bytes[1]]).stream().pipeThrough(inflate);
        store.labels.set(new Uint8Array(await new Response(stream).arrayBuffer()), start);
      }
      store.have.fill(1, message.first, message.first + message.count);
      store.count += message.count;
    }
    for (const listener of store.listeners) listener();
  }

  model.on("msg:custom", receive);
  model.send({ values: true });
  for (let i = 0; i < IN_FLIGHT; i++) askForSlices();
  return store;
}

// One picture of a plane: codes, and what kind of pixel each is where there are labels
function cut(store, plane, index, wanted) {
  const [slices, rows, columns] = store.study.shape;
  const steps = [rows * columns, columns, 1];
  const height = store.study.shape[plane.axes[1]];
  const width = store.study.shape[plane.axes[2]];
  let down = steps[plane.axes[1]];
  let across = steps[plane.axes[2]];
  let origin = index * steps[plane.axes[0]];
  if (plane.flips[0]) [origin, down] = [origin + (height - 1) * down, -down];
  if (plane.flips[1]) [origin, across] = [origin + (width - 1) * across, -across];
  const gather = (source, target) => {
    for (let y = 0, i = 0; y < height; y++) {
      let at = origin + y * down;
      for (let x = 0; x < width; x++, at += across) target[i++] = source[at];
    }
    return target;
  };
  const codes = gather(store.codes, new Uint16Array(width * height));
  const kinds = new Uint8Array(width * height);
  if (wanted && store.labels) {
    const labels = gather(store.labels, new Uint8Array(width * height));
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const label = labels[i];
        if (!label) continue;
        const inside =
          x > 0 && labels[i - 1] === label && x < width - 1 && labels[i + 1] === label &&
          y > 0 && labels[i - width] === label && y < height - 1 && labels[i + width] === label;
        kinds[i] = inside ? 1 : 2;
      }
    }
  }
  return { codes, kinds, width, height };
}

// ---- two ways to turn codes into colours; both give the same pixels

const VERTICES = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const FRAGMENTS = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D codes, kinds, levels, colours;
out vec4 colour;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  at.y = textureSize(codes, 0).y - 1 - at.y;
  int code = int(texelFetch(codes, at, 0).r);
  int level = int(texelFetch(levels, ivec2(code & 255, code >> 8), 0).r);
  colour = vec4(texelFetch(colours, ivec2(level, int(texelFetch(kinds, at, 0).r)), 0)) / 255.0;
}`;

function webglPainter(canvas) {
  const options = { alpha: false, antialias: false, preserveDrawingBuffer: true };
  const gl = canvas.getContext("webgl2", options);
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, FRAGMENTS]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  ["codes", "kinds", "levels", "colours"].forEach((name, unit) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.uniform1i(gl.getUniformLocation(program, name), unit);
  });
  const load = (unit, inside, width, height, format, type, data) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, width, height, 0, format, type, data);
  };
  const table = new Uint8Array(65536);
  return {
    name: "WebGL2",
    setPicture({ codes, kinds, width, height }) {
      load(0, gl.R16UI, width, height, gl.RED_INTEGER, gl.UNSIGNED_SHORT, codes);
      load(1, gl.R8UI, width, height, gl.RED_INTEGER, gl.UNSIGNED_BYTE, kinds);
      gl.viewport(0, 0, width, height);
    },
    setLevels(levels) {
      table.set(levels);
      load(2, gl.R8UI, 256, 256, gl.RED_INTEGER, gl.UNSIGNED_BYTE, table);
    },
    setPalette(colours) {
      load(3, gl.RGBA8UI, 256, 3, gl.RGBA_INTEGER, gl.UNSIGNED_BYTE, colours);
    },
    paint: () => gl.drawArrays(gl.TRIANGLES, 0, 3),
    release: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

function plainPainter(canvas) {
  const context = canvas.getContext("2d", { alpha: false });
  let picture, levels, colours;
  return {
    name: "2D canvas",
    setPicture: (newPicture) => { picture = newPicture; },
    setLevels: (newLevels) => { levels = newLevels; },
    setPalette: (bytes) => { colours = new Uint32Array(bytes.buffer); },
    paint() {
      const { codes, kinds, width, height } = picture;
      const image = context.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      for (let i = 0; i < pixels.length; i++) {
        pixels[i] = colours[(kinds[i] << 8) | levels[codes[i]]];
      }
      context.putImageData(image, 0, 0);
    },
    release() {},
  };
}

// ---- one view of the widget; a page may have several

function element(parent, tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  parent?.append(made);
  return made;
}

function buildPage(el, study) {
  const root = element(el, "div", { className: "magician-viewer" });
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab would take x for "cut this cell"
  const bar = element(root, "div", { className: "bar" });
  const plane = element(null, "select", { ariaLabel: "plane" });
  for (const name of Object.keys(study.planes)) {
    element(plane, "option", { value: name, textContent: name });
  }
  bar.append(plane);
  const presets = Object.entries(study.presets).map(([name, [center, width]]) => {
    const title = `centre ${center}, width ${width} HU`;
    return element(bar, "button", { type: "button", textContent: name, title });
  });
  const overlay = element(null, "input", { type: "checkbox" });
  const opacity = element(null, "input", {
    type: "range", min: 0, max: 1, step: 0.05, ariaLabel: "opacity of the overlay",
  });
  element(bar, "label", { hidden: !study.labels }, [overlay, "lungs in blue", opacity]);
  const point = element(null, "input", { type: "checkbox" });
  element(bar, "label", {}, [point, "point"]);
  const reset = element(bar, "button", { type: "button", textContent: "reset" });

  const keysButton = element(bar, "button", { type: "button", textContent: "keys" });
  keysButton.title = "mouse and keys (?)";

  const body = element(root, "div", { className: "body" });
  const frame = element(body, "div", { className: "frame" });
  const stage = element(frame, "div", { className: "stage", tabIndex: 0 });
  stage.setAttribute("role", "application");
  stage.setAttribute(
    "aria-label",
    "CT. Arrow keys change the slice; the question mark opens the list of all keys.",
  );
  const texts = {};
  const names = [...EDGES, "where", "window", "value", "scale", "coming"];
  for (const name of names) {
    texts[name] = element(stage, "div", { className: `text ${name}` });
  }
  texts.value.setAttribute("role", "status");
  const still = element(stage, "img", { className: "still" });
  const cross = element(stage, "div", { className: "cross", hidden: true });
  const help = buildHelp(frame);
  const numbers = element(body, "div", { className: "numbers" });
  const [center, width] = [["WC", "window centre in HU"], ["WW", "window width in HU"]].map(
    ([name, title]) => {
      const field = element(null, "input", { type: "number", step: 10, title, ariaLabel: title });
      element(numbers, "label", {}, [name, field]);
      return field;
    });
  width.min = 1;
  width.step = "any"; // so that 1 is no odd beginning for steps
  return {
    root, plane, presets, overlay, opacity, point, reset, keysButton, stage, still, texts, cross,
    help, center, width,
  };
}

// The list of keys, which lies over the picture
function buildHelp(frame) {
  const help = element(frame, "div", { className: "help", hidden: true, tabIndex: -1 });
  help.setAttribute("role", "dialog");
  help.setAttribute("aria-label", "mouse and keys");
  element(help, "button", { type: "button", className: "close", textContent: "close" });
  const table = element(help, "table");
  for (const [keys, action] of KEYS) {
    const row = element(table, "tr");
    element(row, "td", { textContent: keys });
    element(row, "td", { textContent: action });
  }
  return help;
}

function showView(model, store, el) {
  const study = store.study;
  const page = buildPage(el, study);
  const view = { zoom: 1, x: 0, y: 0, hover: null, dragging: false };
  let canvas, painter, stale = new Set(["picture", "levels", "palette"]), frame = 0, picture = null;

  page.still.alt = model.get("_still_alt");
  page.still.src = URL.createObjectURL(new Blob([model.get("_still")]));
  page.still.addEventListener("load", () => URL.revokeObjectURL(page.still.src));

  const plane = () => study.planes[model.get("plane")];
  const axis = () => plane().axes[0];
  const index = () => model.get("position")[axis()];

  function setPainter(make) {
    canvas?.remove();
    canvas = document.createElement("canvas");
    painter = make(canvas);
    if (!painter) return setPainter(plainPainter);
    canvas.addEventListener("webglcontextlost", () => setPainter(plainPainter));
    page.root.dataset.painter = painter.name;
    page.stage.prepend(canvas);
    stale = new Set(["picture", "levels", "palette"]);
    redrawSoon();
  }

  function redrawSoon(...what) {
    for (const part of what) stale.add(part);
    frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
  }

  function draw() {
    const complete = store.count === store.have.length && store.values !== null;
    if (complete) page.root.dataset.complete = "true";
    const ready = store.values && (axis() === 0 ? store.have[index()] : store.count > 0);
    canvas.hidden = !ready;
    if (ready) page.still.hidden = true; // and it stays hidden, because it shows one slice only
    page.stage.classList.toggle("waiting", !page.still.hidden);
    if (ready && stale.size) {
      if (stale.has("picture")) {
        picture = cut(store, plane(), index(), model.get("overlay"));
        if (canvas.width !== picture.width || canvas.height !== picture.height) {
          Object.assign(canvas, { width: picture.width, height: picture.height });
        }
        painter.setPicture(picture);
      }
      if (stale.has("levels")) {
        painter.setLevels(greyLevels(store.values, model.get("center"), model.get("width")));
      }
      if (stale.has("palette")) painter.setPalette(palette(study, model.get("opacity")));
      painter.paint();
      stale.clear();
      page.root.dataset.drawn = [
        model.get("plane"), index() + 1, model.get("center"), model.get("width"),
        model.get("overlay"), model.get("opacity"),
      ].join(" ");
    }
    placePicture();
    writeTexts(ready, complete);
  }

  // The picture's size in millimetres, and how many pixels of the page one is
  function scale() {
    const [down, across] = plane().spacing;
    const high = study.shape[plane().axes[1]] * down;
    const wide = study.shape[plane().axes[2]] * across;
    const fit = Math.min(page.stage.clientWidth / wide, page.stage.clientHeight / high);
    return { high, wide, each: fit * view.zoom };
  }

  function placePicture() {
    const { high, wide, each } = scale();
    const left = (page.stage.clientWidth - wide * each) / 2 + view.x;
    const top = (page.stage.clientHeight - high * each) / 2 + view.y;
    Object.assign(canvas.style, {
      left: `${left}px`, top: `${top}px`, width: `${wide * each}px`, height: `${high * each}px`,
    });
    const [down, across] = plane().spacing;
    const at = inPicture(model.get("position"));
    page.cross.hidden = !page.point.checked;
    page.cross.style.left = `${left + (at[1] + 0.5) * across * each}px`;
    page.cross.style.top = `${top + (at[0] + 0.5) * down * each}px`;
    const longest = page.stage.clientWidth / 4;
    const length = [200, 100, 50, 20, 10, 5, 2, 1].find((mm) => mm * each <= longest) ?? 1;
    page.texts.scale.textContent = length >= 10 ? `${length / 10} cm` : `${length} mm`;
    page.texts.scale.style.width = `${length * each}px`;
  }

  function writeTexts(ready, complete) {
    const count = study.shape[axis()];
    EDGES.forEach((edge, i) => { page.texts[edge].textContent = plane().letters[i]; });
    page.texts.where.textContent = `${model.get("plane")} ${index() + 1} of ${count}`;
    page.texts.window.textContent = `WC ${model.get("center")}\nWW ${model.get("width")}`;
    page.texts.coming.textContent = complete ? "" : ready
      ? `${store.count} of ${store.have.length} slices have come`
      : "waiting for the kernel, which may be busy with other cells";
    page.texts.value.textContent = value();
    page.plane.value = model.get("plane");
    page.overlay.checked = model.get("overlay");
    page.opacity.value = model.get("opacity");
    for (const name of ["center", "width"]) {
      // what is being typed stays
      if (!page[name].matches(":focus")) page[name].value = model.get(name);
    }
  }

  function value() {
    const voxel = view.hover ?? (page.point.checked ? model.get("position") : null);
    if (!voxel || !store.values || !store.have[voxel[0]]) return "";
    const [, rows, columns] = study.shape;
    const hu = store.values[store.codes[(voxel[0] * rows + voxel[1]) * columns + voxel[2]]];
    const places = ["RL", "AP", "FH"].map((letters, i) => {
      const mm = study.affine[i].reduce((sum, factor, j) => sum + factor * [...voxel, 1][j], 0);
      return `${letters[Number(mm > 0)]} ${Math.abs(mm).toFixed(0)}`;
    });
    return `${Math.round(hu)} HU\n${places.join(", ")} mm`;
  }

  // The place of a voxel in the picture (down, across), and the voxel at a place
  const flip = (place, i) =>
    plane().flips[i] ? study.shape[plane().axes[i + 1]] - 1 - place : place;
  const inPicture = (voxel) => [0, 1].map((i) => flip(voxel[plane().axes[i + 1]], i));
  function voxelAt(places) {
    const voxel = [...model.get("position")];
    places.forEach((place, i) => {
      const last = study.shape[plane().axes[i + 1]] - 1;
      voxel[plane().axes[i + 1]] = flip(clamp(Math.floor(place), 0, last), i);
    });
    return voxel;
  }
  function underPointer(event) {
    const box = canvas.getBoundingClientRect();
    const [height, width] = [study.shape[plane().axes[1]], study.shape[plane().axes[2]]];
    const down = ((event.clientY - box.top) / box.height) * height;
    const across = ((event.clientX - box.left) / box.width) * width;
    const inside = down >= 0 && across >= 0 && down < height && across < width;
    return inside ? voxelAt([down, across]) : null;
  }

  // ---- actions of the user

  let timer = 0;
  function set(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    clearTimeout(timer);
    if (!view.dragging) timer = setTimeout(() => model.save_changes(), QUIET_MS);
  }
  const setWindow = (center, width) =>
    set({ center: Math.round(center), width: Math.max(1, Math.round(width)) });
  const preset = (i) => setWindow(...Object.values(study.presets)[i]);
  const step = (by) => {
    const position = [...model.get("position")];
    position[axis()] = clamp(position[axis()] + by, 0, study.shape[axis()] - 1);
    set({ position });
  };
  const turn = (name) => set({ plane: name });
  const fade = (by) => {
    set({ opacity: clamp(Math.round((model.get("opacity") + by) * 20) / 20, 0, 1) });
  };
  const magnify = (factor, x = 0, y = 0) => {
    const zoom = clamp(view.zoom * factor, 0.5, 20);
    // the point at (x, y) from the middle stays there
    view.x = x - ((x - view.x) * zoom) / view.zoom;
    view.y = y - ((y - view.y) * zoom) / view.zoom;
    view.zoom = zoom;
    redrawSoon();
  };
  const pan = (x, y) => { view.x += x; view.y += y; redrawSoon(); };
  const reset = () => {
    Object.assign(view, { zoom: 1, x: 0, y: 0 });
    setWindow(...study.start);
    redrawSoon();
  };
  const arrow = (down, across) => {
    if (!page.point.checked) return down ? step(-down) : step(across);
    const at = inPicture(model.get("position"));
    return set({ position: voxelAt([at[0] + down, at[1] + across]) });
  };
  const mark = () => { page.point.checked = !page.point.checked; redrawSoon(); };
  const nextPlane = () => {
    const names = Object.keys(study.planes);
    turn(names[(names.indexOf(model.get("plane")) + 1) % names.length]);
  };
  const showHelp = (shown) => {
    page.help.hidden = !shown;
    // with a screen reader and without a mouse, the list is read and left from inside
    (shown ? page.help : page.stage).focus({ preventScroll: true });
  };
  const keys = {
    ArrowUp: () => arrow(-1, 0),
    ArrowDown: () => arrow(1, 0),
    ArrowLeft: () => arrow(0, -1),
    ArrowRight: () => arrow(0, 1),
    PageUp: () => step(10),
    PageDown: () => step(-10),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    c: () => setWindow(model.get("center") - 10, model.get("width")),
    C: () => setWindow(model.get("center") + 10, model.get("width")),
    w: () => setWindow(model.get("center"), model.get("width") - 20),
    W: () => setWindow(model.get("center"), model.get("width") + 20),
    1: () => preset(0), 2: () => preset(1), 3: () => preset(2),
    "+": () => magnify(1.25), "-": () => magnify(0.8), "−": () => magnify(0.8),
    a: () => turn("axial"), s: () => turn("sagittal"), f: () => turn("coronal"), p: nextPlane,
    o: () => set({ overlay: study.labels && !model.get("overlay") }),
    "[": () => fade(-0.1), "]": () => fade(0.1),
    x: mark, r: reset, "?": () => showHelp(page.help.hidden),
  };
  const shifted = {
    ArrowUp: () => pan(0, -20),
    ArrowDown: () => pan(0, 20),
    ArrowLeft: () => pan(-20, 0),
    ArrowRight: () => pan(20, 0),
  };

  page.stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = (event.shiftKey && shifted[event.key]) || keys[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });

  page.help.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && event.key !== "?") return;
    event.preventDefault();
    event.stopPropagation();
    showHelp(false);
  });
  page.help.querySelector(".close").addEventListener("click", () => showHelp(false));
  page.keysButton.addEventListener("click", () => showHelp(page.help.hidden));

  let rest = 0; // sum of a touchpad's many small steps
  page.stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const box = page.stage.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      const x = event.clientX - box.left - box.width / 2;
      const y = event.clientY - box.top - box.height / 2;
      const turned = clamp(event.deltaY * (event.deltaMode ? 30 : 1), -120, 120);
      return magnify(Math.exp(-turned / 400), x, y);
    }
    rest += event.deltaMode ? Math.sign(event.deltaY) * 100 : event.deltaY;
    const size = Math.abs(rest);
    const steps = size >= 50 ? Math.sign(rest) * Math.max(1, Math.round(size / 120)) : 0;
    if (steps) { rest = 0; step(-steps); }
  }, { passive: false });

  page.stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    page.stage.focus({ preventScroll: true });
    page.stage.setPointerCapture(event.pointerId);
    view.dragging = true;
    const [center, width] = [model.get("center"), model.get("width")];
    const each = Math.max(1, width / 256);
    Object.assign(view, { from: event, at: [view.x, view.y], center, width, each });
  });
  page.stage.addEventListener("pointermove", (event) => {
    view.hover = underPointer(event);
    if (view.dragging) {
      const [x, y] = [event.clientX - view.from.clientX, event.clientY - view.from.clientY];
      if (view.from.shiftKey) [view.x, view.y] = [view.at[0] + x, view.at[1] + y];
      else if (Math.hypot(x, y) > 2) {
        setWindow(view.center - y * view.each, view.width + x * view.each);
      }
    }
    redrawSoon();
  });
  const release = (event) => {
    if (!view.dragging) return;
    view.dragging = false;
    const { clientX, clientY } = view.from;
    const still = Math.hypot(event.clientX - clientX, event.clientY - clientY) <= 2;
    const voxel = underPointer(event);
    set(still && page.point.checked && voxel ? { position: voxel } : {});
  };
  page.stage.addEventListener("pointerup", release);
  page.stage.addEventListener("pointercancel", release);
  page.stage.addEventListener("pointerleave", () => { view.hover = null; redrawSoon(); });
  page.stage.addEventListener("dblclick", reset);

  page.plane.addEventListener("change", () => turn(page.plane.value));
  page.presets.forEach((button, i) => button.addEventListener("click", () => preset(i)));
  page.overlay.addEventListener("change", () => set({ overlay: page.overlay.checked }));
  page.opacity.addEventListener("input", () => set({ opacity: Number(page.opacity.value) }));
  page.point.addEventListener("change", () => redrawSoon());
  for (const name of ["center", "width"]) {
    const field = page[name];
    field.addEventListener("keydown", (event) => event.stopPropagation());
    field.addEventListener("change", () => { // by Enter, by a step, or when the field is left
      const typed = { center: model.get("center"), width: model.get("width") };
      if (field.value.trim() !== "" && Number.isFinite(field.valueAsNumber)) {
        typed[name] = clamp(field.valueAsNumber, -1e5, 1e5);
        setWindow(typed.center, typed.width);
      }
      field.value = model.get(name);
    });
    field.addEventListener("blur", () => redrawSoon());
  }
  page.reset.addEventListener("click", reset);

  const follow = {
    "change:plane": () => redrawSoon("picture"), "change:position": () => redrawSoon("picture"),
    "change:center": () => redrawSoon("levels"), "change:width": () => redrawSoon("levels"),
    "change:overlay": () => redrawSoon("picture"), "change:opacity": () => redrawSoon("palette"),
  };
  for (const [name, listener] of Object.entries(follow)) model.on(name, listener);
  const arrived = () => redrawSoon("picture", "levels");
  store.listeners.add(arrived);
  const sizes = new ResizeObserver(() => redrawSoon());
  sizes.observe(page.stage);
  setPainter(webglPainter);

  return () => {
    for (const [name, listener] of Object.entries(follow)) model.off(name, listener);
    store.listeners.delete(arrived);
    sizes.disconnect();
    cancelAnimationFrame(frame);
    painter.release();
  };
}

export default () => {
  let store;
  return {
    initialize({ model }) { store = createStore(model); },
    render({ model, el }) { return showView(model, store, el); },
  };
};
