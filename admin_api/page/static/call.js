// The picture of a call's sound, drawn from peaks that the recorder made, over the browser's own player.
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
  const LOUDEST = 8; // how much a quiet call's picture is stretched at most

  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const [hours, minutes, seconds] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, Math.floor(s) % 60];
    return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
  };

  /** A colour of the style sheet as a canvas takes it. */
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

  async function draw() {
    const answer = await fetch(player.dataset.waveform, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    const shown = await answer.json();
    const loudest = Math.max(1, ...shown.channels.map((channel) => Math.max(1, ...channel.peaks)));
    const by = Math.min(1000 / loudest, LOUDEST) / 1000;
    const [plain, played] = [["wave-left", "wave-right"], ["wave-left-played", "wave-right-played"]];
    wave.hidden = false;
    const drawn = WaveSurfer.create({
      container: wave,
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

  /** One channel alone is heard on both ears; made at the first choice, for a browser wants a hand first. */
  let mixed = null;
  function mix() {
    const context = new AudioContext();
    const split = context.createChannelSplitter(2);
    const ears = context.createChannelMerger(2);
    context.createMediaElementSource(audio).connect(split);
    const gains = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([from, to]) => {
      const gain = context.createGain();
      split.connect(gain, from);
      gain.connect(ears, 0, to);
      return gain;
    });
    ears.connect(context.destination);
    return { context, gains };
  }
  if (hear) {
    hear.addEventListener("change", () => {
      mixed = mixed || mix();
      mixed.context.resume();
      const heard = { both: [1, 0, 0, 1], left: [1, 1, 0, 0], right: [0, 0, 1, 1] }[hear.value];
      mixed.gains.forEach((gain, number) => {
        gain.gain.value = heard[number];
      });
      player.dataset.hears = hear.value;
    });
  }

  draw().catch(() => {
    wave.hidden = true;
    says.textContent = player.dataset.hiddenSound;
  });
});
