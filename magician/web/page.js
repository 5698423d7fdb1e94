// Scrolls through one series. Its images are fetched ahead, the nearest first, and kept, so that a
// step needs no network.
"use strict";

const AT_ONCE = 4; // requests: as many as the server has threads
const KEEP = 400; // images in memory; the farthest are given up

const viewer = document.getElementById("viewer");
const stage = document.getElementById("stage");
const slider = document.getElementById("image");
const caption = document.getElementById("where");
const loading = document.getElementById("loading");
const radios = [...document.querySelectorAll("input[name=window]")];
const edges = [...document.querySelectorAll("#frame abbr")]; // left, right, upper
const uids = viewer ? viewer.dataset.instances.split(" ") : [];
const letters = viewer ? viewer.dataset.letters.split(" ") : []; // of each image, by edge

let wanted = 0; // the image that was asked for, from 0
let window_ = ""; // the name of the window
let images = new Map(); // index to a loaded picture
let coming = new Map(); // index to one that is on its way

function show(index) {
  const picture = images.get(index);
  picture.alt = `Image ${index + 1} of ${uids.length}, ${viewer.dataset.name}`;
  if (stage.firstElementChild !== picture) stage.replaceChildren(picture);
  edges.forEach((edge, i) => { edge.textContent = letters[index].split(",")[i] ?? ""; });
  // the image that is seen, not the one that is waited for
  caption.textContent = `Image ${index + 1} of ${uids.length}`;
  viewer.dataset.shown = `${index + 1} ${window_}`;
}

function nearestMissing() {
  const reach = Math.min(uids.length, KEEP / 2);
  for (let distance = 0; distance < reach; distance++) {
    for (const index of [wanted + distance, wanted - distance]) {
      const exists = index >= 0 && index < uids.length;
      if (exists && !images.has(index) && !coming.has(index)) return index;
    }
  }
  return -1;
}

function fetchAhead() {
  while (coming.size < AT_ONCE) {
    const index = nearestMissing();
    if (index < 0) break;
    const picture = new Image();
    coming.set(index, picture);
    const arrived = () => {
      if (coming.get(index) !== picture) return; // of a window that is no longer wanted
      coming.delete(index);
      images.set(index, picture);
      forget();
      if (index === wanted) show(index);
      fetchAhead();
    };
    picture.onload = picture.onerror = arrived;
    picture.src = `instances/${uids[index]}.jpg${window_ ? `?window=${window_}` : ""}`;
  }
  const complete = images.size === uids.length;
  loading.textContent = complete || images.size >= KEEP ? "" : `(${images.size} loaded)`;
  viewer.toggleAttribute("data-complete", complete);
}

function forget() {
  if (images.size <= KEEP) return;
  const distance = (index) => Math.abs(index - wanted);
  const farthest = [...images.keys()].reduce((a, b) => (distance(a) > distance(b) ? a : b));
  images.delete(farthest);
}

function go(index) {
  wanted = Math.max(0, Math.min(uids.length - 1, index));
  slider.value = wanted + 1;
  if (images.has(wanted)) show(wanted);
  fetchAhead();
  remember();
}

let later;
function remember() {
  // the address follows, so that "Look again" and a bookmark show the same image; browsers limit
  // how often it may change
  clearTimeout(later);
  later = setTimeout(() => {
    const query = new URLSearchParams({ image: wanted + 1, ...(window_ && { window: window_ }) });
    history.replaceState(null, "", `?${query}`);
  }, 300);
}

function chooseWindow(radio) {
  radio.checked = true;
  window_ = radio.value;
  images = new Map();
  coming = new Map();
  go(wanted);
}

const STEPS = {
  ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1,
  PageUp: 10, PageDown: -10, End: Infinity, Home: -Infinity,
};

function key(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key in STEPS && !radios.includes(event.target)) {
    event.preventDefault();
    go(wanted + STEPS[event.key]);
  } else if (radios[event.key]) {
    chooseWindow(radios[event.key]); // 0: as the image says; 1, 2, 3 as in the notebook's viewer
  }
}

let turned = 0;
function wheel(event) {
  event.preventDefault();
  turned -= event.deltaY * (event.deltaMode ? 40 : 1);
  const steps = Math.trunc(turned / 40);
  turned -= 40 * steps;
  if (steps) go(wanted + steps);
}

if (viewer) {
  document.querySelector("#viewer button").hidden = true;
  window_ = radios.find((radio) => radio.checked)?.value ?? "";
  slider.addEventListener("input", () => go(slider.valueAsNumber - 1));
  for (const radio of radios) radio.addEventListener("change", () => chooseWindow(radio));
  document.addEventListener("keydown", key);
  stage.addEventListener("wheel", wheel, { passive: false });
  const form = document.querySelector("#viewer form");
  form.addEventListener("submit", (event) => event.preventDefault());
  go(slider.valueAsNumber - 1);
}
