// The page: takes a photo or video, asks the server that it came from, shows what it says. Nothing is kept.

import { frameAt, lane } from "./timeline.js";
import { firstLanguage, say } from "./words.js";

const at = (id) => document.getElementById(id);
const page = { model: null, language: firstLanguage("auto"), file: null, url: "", answer: null, kind: "", key: "", turn: 0 };
const word = (key, blanks) => say(page.language, key, blanks);

/** Name of an emotion for people. */
function nameOf(emotion) {
  const number = page.model.classes.indexOf(emotion);
  return page.language === "ko" ? page.model.korean[number] : emotion;
}

/** A new element with a class and a text. */
function made(tag, kind = "", text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  return element;
}

/** The answer in words: one emotion, two, or that it is not sure. */
function inWords(mood) {
  if (mood.certainty === "either") return mood.answers.map(nameOf).join(word("or"));
  return mood.certainty === "unsure" ? word("unsure") : nameOf(mood.emotion);
}

function certainty(mood) {
  const best = nameOf(mood.emotion);
  const { frames_threshold: least } = page.model.certainty ?? {};
  if (least === 0) return word("unpromised", { best });
  if (mood.certainty !== "unsure") return word(mood.certainty);
  return word("unsure_long", { n: mood.answers.length, best });
}

function translate() {
  document.documentElement.lang = page.language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  const other = page.language === "ko" ? "en" : "ko";
  at("language").textContent = other === "ko" ? "한국어" : "English";
  at("language").lang = other;
  const { level, frames_threshold: least } = page.model?.certainty ?? {};
  at("promise").textContent = least ? word("promise", { level: Math.round(100 * level) }) : "";
  for (const [n, button] of [...document.querySelectorAll("#examples .row button")].entries()) {
    button.setAttribute("aria-label", word("example", { n: n + 1 }));
  }
}

/** Ask the server; a refusal becomes an Error with its sentence. */
async function ask(path, options = {}) {
  const headers = page.key ? { "x-api-key": page.key } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error(word("offline"));
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  if (response.status === 401) {
    at("key").hidden = false;
    at("key-text").focus();
    throw new Error(word("key_needed"));
  }
  throw new Error(told?.error?.message ?? word("failed"));
}

function send(path, file, query) {
  const form = new FormData();
  form.append("file", file, "upload");
  return ask(`${path}?${new URLSearchParams({ lang: page.language, ...query })}`, { method: "POST", body: form });
}

function complain(text) {
  at("error").textContent = text;
  at("error").hidden = !text;
  if (text) at("status").textContent = "";
}

/** A photo that is larger than the server takes, made smaller as the browser can. */
async function smaller(file) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, 2048 / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

/** Take a file, ask, and show the answer; a later file overtakes an earlier one. */
async function take(file, query = {}) {
  const turn = ++page.turn;
  complain("");
  at("result").hidden = true;
  const kind = file.type.startsWith("video/") ? "video" : "photo";
  at("status").textContent = word(kind === "video" ? "working_video" : "working");
  try {
    if (page.model === null) await meet();
    const most = kind === "video" ? page.model.video_bytes : page.model.most_bytes;
    if (file.size > most && kind === "photo") file = await smaller(file).catch(() => file);
    if (file.size > most) throw new Error(word("too_large", { size: Math.floor(most / 1e6) }));
    const response = await send(kind === "video" ? "/v1/video" : "/v1/predict", file, query);
    const answer = await response.json();
    if (turn !== page.turn) return;
    if (page.url) URL.revokeObjectURL(page.url);
    Object.assign(page, { file, kind, answer, url: URL.createObjectURL(file) });
    show();
    at("status").textContent = word("done");
    at("result").focus();
  } catch (error) {
    if (turn === page.turn) complain(error.message);
  }
}

function show() {
  if (!page.answer) return;
  at("result").hidden = false;
  at("stage").replaceChildren();
  at("timeline").replaceChildren();
  at("answers").replaceChildren();
  if (page.kind === "video") showVideo();
  else showPhoto();
}

/** Place something over a part of the picture, whatever size it is shown at. */
function place(element, box, width, height) {
  element.style.left = `${(100 * box.x) / width}%`;
  element.style.top = `${(100 * box.y) / height}%`;
  element.style.width = `${(100 * box.width) / width}%`;
  element.style.height = `${(100 * box.height) / height}%`;
  return element;
}

/** As large as fits, small pictures up to two and a half times their size. */
function fit(width, height) {
  at("stage").style.width = `min(100%, calc(70vh * ${width / height}), ${2.5 * width}px)`;
}

function boxOf(animal, width, height) {
  const box = place(made("div", `box mood-${animal.emotion}`), animal.box, width, height);
  box.append(made("span", "", inWords(animal)));
  return box;
}

function bars(mood) {
  const list = made("dl", "bars");
  const ordered = Object.entries(mood.probabilities).sort((a, b) => b[1] - a[1]);
  for (const [emotion, share] of ordered) {
    const percent = `${Math.round(100 * share)} %`;
    const track = made("div", `track mood-${emotion}`);
    const bar = made("i");
    bar.style.width = `${100 * share}%`;
    track.append(bar);
    track.setAttribute("aria-hidden", "true");
    list.append(made("dt", mood.answers.includes(emotion) ? "held" : "", nameOf(emotion)), track, made("dd", "", percent));
  }
  return list;
}

function card(mood, title) {
  const element = made("article", `card mood-${mood.emotion}`);
  element.append(made("small", "", title), made("h3", "", inWords(mood)), made("p", "", certainty(mood)), bars(mood));
  return element;
}

function kindOf(species, number, count) {
  const name = word(species || "animal");
  return count > 1 ? `${name} ${number + 1}` : name;
}

function showPhoto() {
  const { width, height, animals } = page.answer;
  const picture = made("img");
  picture.src = page.url;
  picture.alt = word("picture");
  at("stage").append(picture);
  fit(width, height);
  at("said").textContent = animals.map(inWords).join(", ") || word("no_animal");
  animals.forEach((animal, number) => {
    if (animal.box) at("stage").append(boxOf(animal, width, height));
    const shown = card(animal, kindOf(animal.species, number, animals.length));
    if (page.model.heat_maps) shown.append(...why(animal, width, height));
    at("answers").append(shown);
  });
  if (!animals.length) {
    const again = made("button", "second", word("whole"));
    again.type = "button";
    again.addEventListener("click", () => take(page.file, { whole: true }));
    at("answers").append(again);
  }
}

/** A button that lays the heat map of an animal over the picture, and takes it away. */
function why(animal, width, height) {
  const button = made("button", "second", word("why"));
  const note = made("p");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    const pressed = button.getAttribute("aria-pressed") === "true";
    for (const other of document.querySelectorAll(".heat")) other.remove();
    for (const other of document.querySelectorAll("#answers [aria-pressed]")) other.setAttribute("aria-pressed", "false");
    note.textContent = "";
    if (pressed) return;
    const query = animal.box
      ? { box: [animal.box.x, animal.box.y, animal.box.width, animal.box.height].join() }
      : { whole: true };
    try {
      const heat = await (await send("/v1/explain", page.file, { ...query, emotion: animal.emotion })).json();
      // Below the boxes, whose words must stay readable.
      at("stage").querySelector("img").after(place(painted(heat.heat), heat.box, width, height));
      note.textContent = word("why_long", { emotion: nameOf(heat.emotion) });
      button.setAttribute("aria-pressed", "true");
    } catch (error) {
      note.textContent = error.message || word("no_why");
    }
  });
  return [button, note];
}

/** A canvas of heat: clear, then red, then yellow. */
function painted(rows) {
  const canvas = made("canvas", "heat");
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, place) => {
    image.data.set([Math.min(255, 2 * value), Math.max(0, 2 * value - 255), 40, 0.65 * value], 4 * place);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

function showVideo() {
  const { frames, tracks, every_ms: every, cut_short: cut } = page.answer;
  const film = made("video");
  Object.assign(film, { src: page.url, controls: true, muted: true, playsInline: true });
  const over = made("div");
  at("stage").append(film, over);
  const draw = () => {
    const frame = frameAt(frames, 1000 * film.currentTime + 1);
    const boxed = (frame?.animals ?? []).filter((animal) => animal.box && film.videoWidth);
    over.replaceChildren(...boxed.map((animal) => boxOf(animal, film.videoWidth, film.videoHeight)));
  };
  for (const event of ["timeupdate", "seeked", "loadeddata"]) film.addEventListener(event, draw);
  film.addEventListener("loadedmetadata", () => fit(film.videoWidth || 640, film.videoHeight || 360));
  film.addEventListener("error", () => film.replaceWith(made("p", "hint", word("not_playable"))));
  const jump = (ms) => { film.currentTime = ms / 1000; };
  at("said").textContent = tracks.map(inWords).join(", ") || word("no_animal");
  if (tracks.length) at("timeline").append(made("h3", "", word("timeline")));
  tracks.forEach((track, number) => {
    const title = kindOf(track.species, number, tracks.length);
    at("timeline").append(made("small", "", title), lane(frames, track.track, every, nameOf, jump));
    at("answers").append(card(track, `${title}, ${word("frames", { n: track.frames })}`));
  });
  if (tracks.length) at("timeline").append(legend(frames));
  if (cut) at("timeline").append(made("p", "hint", word("cut_short")));
}

function legend(frames) {
  const list = made("ul", "legend");
  const seen = new Set(frames.flatMap((frame) => frame.animals.map((animal) => animal.emotion)));
  for (const emotion of page.model.classes.filter((name) => seen.has(name))) {
    const row = made("li", `mood-${emotion}`);
    row.append(made("i"), nameOf(emotion));
    list.append(row);
  }
  return list;
}

/** Ask who answers here, once; the examples come with it. */
async function meet() {
  page.model = await (await ask("/v1/model")).json();
  if (page.model.language !== "auto") page.language = firstLanguage(page.model.language);
  translate();
  const row = document.querySelector("#examples .row");
  for (let n = 0; n < page.model.examples; n += 1) {
    const blob = await (await ask(`/v1/examples/${n}`)).blob();
    const button = made("button");
    const picture = made("img");
    picture.src = URL.createObjectURL(blob);
    picture.alt = "";
    button.type = "button";
    button.setAttribute("aria-label", word("example", { n: n + 1 }));
    button.append(picture);
    // They are cut out already.
    button.addEventListener("click", () => take(blob, { whole: true }));
    row.append(button);
  }
  at("examples").hidden = !page.model.examples;
}

function takeFirst(files) {
  const file = [...files].find((one) => /^(image|video)\//.test(one.type)) ?? files[0];
  if (file) take(file);
}

/** Taking a photo; the button is there only if a camera is. */
async function offerCamera() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []);
  at("camera").hidden = !devices?.some((device) => device.kind === "videoinput");
  const view = document.querySelector("#viewfinder video");
  at("camera").addEventListener("click", async () => {
    complain("");
    try {
      view.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      at("viewfinder").showModal();
    } catch {
      complain(word("no_camera"));
    }
  });
  at("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    canvas.toBlob((blob) => {
      if (!blob) return; // the camera has shown nothing yet
      at("viewfinder").close();
      take(blob);
    }, "image/jpeg", 0.92);
  });
  at("leave").addEventListener("click", () => at("viewfinder").close());
  at("viewfinder").addEventListener("close", () => {
    for (const track of view.srcObject?.getTracks() ?? []) track.stop();
    view.srcObject = null;
  });
}

at("language").addEventListener("click", () => {
  page.language = page.language === "ko" ? "en" : "ko";
  complain("");
  at("status").textContent = "";
  translate();
  if (!at("result").hidden) show();
});
at("file").addEventListener("change", () => { takeFirst(at("file").files); at("file").value = ""; });
at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  page.key = at("key-text").value;
  at("key").hidden = true;
  complain("");
  meet().catch((error) => complain(error.message));
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) takeFirst(event.clipboardData.files); });
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  takeFirst(event.dataTransfer.files);
});
translate();
meet().catch((error) => complain(error.message));
offerCamera();
