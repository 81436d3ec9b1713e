// The waveform of a call, drawn from the recorder's peaks, above the browser's own player.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const player = document.querySelector(".player[data-waveform]");
  if (!player) return;
  const audio = player.querySelector("audio");
  const wave = player.querySelector(".wave");
  const says = player.querySelector(".wave-says");
  const speed = player.querySelector(".speed");
  const hear = player.querySelector(".hear");
  const HEIGHT = 56;
  const LOUDEST = 8; // maximum stretch of a quiet call's picture

  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const [hours, minutes, seconds] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, Math.floor(s) % 60];
    return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
  };

  /** Return a colour of the style sheet in the canvas's form. */
  function colour(name) {
    const probe = document.createElement("i");
    probe.className = name;
    wave.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function gaps(channels, length) {
    channels.forEach((channel, number) => {
      for (const [from, to, why] of channel.gaps) {
        const mark = document.createElement("span");
        mark.className = why === "pause" || why === "hold" ? "wave-pause" : "wave-gap";
        mark.style.left = `${(100 * from) / length}%`;
        mark.style.width = `${(100 * (to - from)) / length}%`;
        mark.style.top = `${number * HEIGHT}px`;
        mark.style.height = `${HEIGHT}px`;
        wave.append(mark);
      }
    });
  }

  const TRIES = 6; // attempts to load audio while the recorder is busy: two minutes
  const DRAWINGS = 4; // attempts to load the waveform: a quarter of a minute
  /** Wait as long as the recorder asks, and longer with each attempt. */
  const pause = (answer, tries) => {
    const asked = Number(answer.headers.get("Retry-After")) || 1;
    return new Promise((go) => setTimeout(go, 1000 * Math.min(Math.max(asked, 2 ** tries), 60)));
  };

  async function peaks() {
    for (let tries = 1; ; tries += 1) {
      const answer = await fetch(player.dataset.waveform, { credentials: "same-origin" });
      if (answer.status !== 503 || tries === DRAWINGS) return answer;
      says.textContent = player.dataset.busy;
      await pause(answer, tries);
    }
  }

  async function draw() {
    const answer = await peaks();
    if (!answer.ok) throw new Error(String(answer.status));
    const shown = await answer.json();
    const loudest = Math.max(1, ...shown.channels.map((channel) => Math.max(1, ...channel.peaks)));
    const by = Math.min(1000 / loudest, LOUDEST) / 1000;
    const [plain, played] = [["wave-left", "wave-right"], ["wave-left-played", "wave-right-played"]];
    wave.hidden = false;
    const drawn = WaveSurfer.create({
      container: wave,
      cspNonce: player.dataset.styleNonce,
      media: audio,
      peaks: shown.channels.map((channel) => channel.peaks.map((peak) => peak * by)),
      duration: shown.duration_s,
      height: HEIGHT,
      cursorColor: colour("wave-cursor"),
      cursorWidth: 2,
      dragToSeek: true,
      hideScrollbar: true,
      splitChannels: shown.channels.map((_, number) => ({
        height: HEIGHT,
        waveColor: colour(plain[number % 2]),
        progressColor: colour(played[number % 2]),
      })),
    });
    drawn.on("error", () => {});
    gaps(shown.channels, shown.duration_s);
    wave.setAttribute("aria-valuemax", String(Math.round(shown.duration_s)));
    says.hidden = true;
    player.dataset.drawn = "";
  }

  function go(to) {
    const end = Number.isFinite(audio.duration) ? audio.duration : Number(wave.getAttribute("aria-valuemax"));
    audio.currentTime = Math.min(Math.max(to, 0), end);
  }

  const keys = {
    " ": () => (audio.paused ? audio.play() : audio.pause()),
    ArrowLeft: () => go(audio.currentTime - 5),
    ArrowRight: () => go(audio.currentTime + 5),
    ArrowDown: () => go(audio.currentTime - 5),
    ArrowUp: () => go(audio.currentTime + 5),
    PageDown: () => go(audio.currentTime - 30),
    PageUp: () => go(audio.currentTime + 30),
    Home: () => go(0),
    End: () => go(Infinity),
  };
  wave.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  audio.addEventListener("timeupdate", () => {
    wave.setAttribute("aria-valuenow", String(Math.floor(audio.currentTime)));
    wave.setAttribute("aria-valuetext", clock(audio.currentTime));
  });
  speed.addEventListener("change", () => {
    audio.playbackRate = Number(speed.value);
  });

  // A browser reports only that audio failed to load: request it once more to learn why.
  const told = player.querySelector("[data-sound-says]");
  let failures = 0;
  async function again() {
    const at = audio.currentTime;
    failures += 1;
    told.hidden = false;
    const answer = await fetch(audio.src, { credentials: "same-origin", headers: { Range: "bytes=1-1" } });
    if (answer.body) answer.body.cancel();
    if (!answer.ok && answer.status !== 503) {
      told.textContent = player.dataset.gone;
      return;
    }
    told.textContent = failures > TRIES ? player.dataset.later : player.dataset.busy;
    if (failures > TRIES) return;
    await pause(answer, failures);
    audio.load();
    audio.currentTime = at;
    await audio.play();
  }
  audio.addEventListener("error", () => again().catch(() => {}));
  audio.addEventListener("playing", () => {
    failures = 0;
    told.hidden = true;
  });
  audio.addEventListener("play", () => {
    if (failures > TRIES) failures = 0; // a person tries again
  });

  /** Gains of each channel for each ear; created at the first choice, because browsers require a user action. */
  const channels = hear ? Number(hear.dataset.channels || 2) : 0;
  let mixed = null;
  function mix() {
    const context = new AudioContext();
    const split = context.createChannelSplitter(channels);
    const ears = context.createChannelMerger(2);
    context.createMediaElementSource(audio).connect(split);
    const gains = Array.from({ length: 2 * channels }, (_, number) => {
      const gain = context.createGain();
      split.connect(gain, number >> 1);
      gain.connect(ears, 0, number & 1);
      return gain;
    });
    ears.connect(context.destination);
    return { context, gains };
  }
  function choose() {
    mixed = mixed || mix();
    mixed.context.resume();
    const alone = { left: 0, right: 1 }[hear.value] ?? Number(hear.value); // NaN: all of them
    mixed.gains.forEach((gain, number) => {
      const [channel, ear] = [number >> 1, number & 1];
      if (!Number.isNaN(alone)) gain.gain.value = channel === alone ? 1 : 0;
      else gain.gain.value = channels > 2 ? 1 / Math.sqrt(channels) : channel === ear ? 1 : 0;
    });
    player.dataset.hears = hear.value;
  }
  if (hear) hear.addEventListener("change", choose);
  // with more than two channels, a browser assumes surround sound and may drop one
  if (channels > 2) audio.addEventListener("play", () => mixed || choose());

  draw().catch(() => {
    wave.hidden = true;
    says.textContent = player.dataset.hiddenSound;
  });
});
