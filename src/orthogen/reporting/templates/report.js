"use strict";
// Without this script the page shows the latest samples and every step of every traversal, and it prints that way.
document.querySelectorAll(".script").forEach((node) => { node.hidden = false; });

for (const section of document.querySelectorAll("#samples")) {
  const slider = section.querySelector("input");
  const figures = [...section.querySelectorAll("figure")].map((f) => [[...f.querySelectorAll("img")], f.querySelector(".shown")]);
  const most = Math.max(...figures.map(([images]) => images.length));
  if (most < 2) slider.closest("label").hidden = true;
  slider.addEventListener("input", () => {
    for (const [images, caption] of figures) {
      const at = Math.round((slider.value / 1000) * (images.length - 1));
      images.forEach((image, i) => { image.hidden = i !== at; });
      if (images.length) caption.textContent = images[at].dataset.images;
    }
  });
}

for (const section of document.querySelectorAll(".motion")) {
  const steps = +section.dataset.steps, samples = +section.dataset.samples, gap = +section.dataset.gap;
  const play = section.querySelector(".play"), view = section.querySelector(".view");
  const rows = [...section.querySelectorAll(".row:not(.title)")].map((row) => {
    const cells = [...row.querySelectorAll(".cell img")].map((image) => {
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-label", image.alt);
      image.after(canvas);
      return { image, canvas, shown: -1 };
    });
    const values = row.querySelector(".cell img")?.parentElement.dataset.values.split(" ") ?? [];
    return { cells, values, slider: row.querySelector("input"), output: row.querySelector("output") };
  });

  // a sheet has a line per sample and a column per step; a frame is one column, laid out from left to right
  const draw = (row) => {
    const step = Math.round(row.slider.value);
    row.output.textContent = row.values[step] ?? "";
    for (const cell of row.cells) {
      const { image, canvas } = cell;
      if (cell.shown === step || !image.naturalWidth) continue;
      const w = (image.naturalWidth - gap * (steps - 1)) / steps, h = (image.naturalHeight - gap * (samples - 1)) / samples;
      if (!canvas.dataset.sized) {
        canvas.width = samples * (w + gap) - gap;
        canvas.height = h;
        canvas.dataset.sized = "yes";
      }
      const pen = canvas.getContext("2d");
      for (let i = 0; i < samples; i++) pen.drawImage(image, step * (w + gap), i * (h + gap), w, h, i * (w + gap), 0, w, h);
      cell.shown = step;
    }
  };

  let playing = false, began = 0, visible = true;
  const tick = (now) => {
    if (!playing) return;
    if (visible) {
      const at = (steps - 1) * (0.5 + 0.5 * Math.sin((now - began) / 700));
      for (const row of rows) { row.slider.value = at; draw(row); }
    }
    requestAnimationFrame(tick);
  };
  const set = (on) => {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    if (on) { began = performance.now(); requestAnimationFrame(tick); }
  };
  const look = (moving) => {
    section.classList.toggle("moving", moving);
    view.textContent = moving ? "Show all steps" : "Show in motion";
    play.hidden = !moving;
    for (const row of rows) row.slider.parentElement.querySelectorAll("input, output").forEach((n) => { n.hidden = !moving; });
    if (!moving) set(false);
  };

  play.addEventListener("click", () => set(!playing));
  view.addEventListener("click", () => look(!section.classList.contains("moving")));
  for (const row of rows) {
    row.slider.addEventListener("pointerdown", () => set(false));
    row.slider.addEventListener("input", () => { set(false); draw(row); });
  }
  look(true);
  for (const row of rows) {
    for (const { image } of row.cells) image.addEventListener("load", () => draw(row));
    draw(row);
  }
  set(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  new IntersectionObserver((entries) => { visible = entries[0].isIntersecting; }).observe(section);
}
