// How an animal's mood changes in a video: a lane of stretches that can be clicked, and boxes over the playing video.

/** Stretches of one animal with the same emotion: {from, to, emotion}, in milliseconds. */
export function stretches(frames, track, every) {
  const found = [];
  for (const frame of frames) {
    const seen = frame.animals.find((animal) => animal.track === track);
    const emotion = seen ? seen.emotion : "";
    const last = found.at(-1);
    if (last && last.emotion === emotion) last.to = frame.time_ms + every;
    else found.push({ from: frame.time_ms, to: frame.time_ms + every, emotion });
  }
  return found;
}

/** Minutes and seconds. */
export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** A lane of buttons that jump to a stretch. */
export function lane(frames, track, every, nameOf, jump) {
  const row = document.createElement("div");
  row.className = "lane";
  for (const { from, to, emotion } of stretches(frames, track, every)) {
    const part = document.createElement("button");
    part.type = "button";
    part.style.flexGrow = String(to - from);
    if (emotion) part.className = `mood-${emotion}`;
    const words = `${clock(from)}–${clock(to)} ${emotion ? nameOf(emotion) : "–"}`;
    part.title = words;
    part.setAttribute("aria-label", words);
    part.addEventListener("click", () => jump(from));
    row.append(part);
  }
  return row;
}

/** The frame that is shown at a time, in milliseconds; undefined before the first. */
export function frameAt(frames, ms) {
  let found;
  for (const frame of frames) {
    if (frame.time_ms > ms) break;
    found = frame;
  }
  return found;
}
