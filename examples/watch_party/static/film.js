/** The drawn film: a day by the sea. Each frame depends only on the position in the film. */

import { clockTime } from "./sync.js";

// Position in the film, from 0 to 1, and the colours of the top of the sky, of the horizon and of the sea.
const SKIES = [
  [0.0, [11, 16, 38], [38, 44, 84], [16, 26, 54]],
  [0.12, [44, 49, 108], [255, 148, 106], [58, 74, 118]],
  [0.25, [78, 142, 212], [255, 214, 168], [46, 112, 158]],
  [0.5, [56, 140, 224], [186, 226, 250], [30, 124, 176]],
  [0.75, [94, 118, 190], [255, 190, 120], [60, 104, 148]],
  [0.88, [52, 40, 96], [250, 104, 84], [58, 56, 104]],
  [1.0, [8, 12, 30], [30, 34, 70], [12, 20, 44]],
];

/** Draw the frame at `time` of a film of `length` seconds. */
export function drawFilm(canvas, time, length) {
  const scale = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  const day = length > 0 ? time / length : 0;
  const horizon = height * 0.64;
  const [top, foot, sea] = colours(day);
  const night = Math.max(0, 1 - Math.min(day, 1 - day) / 0.16);

  fill(pen, 0, 0, width, horizon, [top, foot]);
  stars(pen, width, horizon, time, night);
  sun(pen, width, height, horizon, day);
  clouds(pen, width, horizon, time, night);
  hills(pen, width, horizon, foot, top);
  fill(pen, 0, horizon, width, height - horizon, [mix(foot, sea, 0.45), sea]);
  waves(pen, width, height, horizon, time, foot);
  boat(pen, width, height, horizon, time, day);
  counter(pen, width, height, time);
}

function colours(day) {
  const next = Math.max(1, SKIES.findIndex(([at]) => at >= Math.min(day, 1)));
  const [before, after] = [SKIES[next - 1], SKIES[next]];
  const ratio = (Math.min(day, 1) - before[0]) / (after[0] - before[0]);
  return [1, 2, 3].map((index) => mix(before[index], after[index], ratio));
}

function mix(first, second, ratio) {
  return first.map((value, index) => value + (second[index] - value) * ratio);
}

function rgb([red, green, blue], alpha = 1) {
  return `rgba(${Math.round(red)}, ${Math.round(green)}, ${Math.round(blue)}, ${alpha})`;
}

function fill(pen, x, y, width, height, [from, to]) {
  const shade = pen.createLinearGradient(0, y, 0, y + height);
  shade.addColorStop(0, rgb(from));
  shade.addColorStop(1, rgb(to));
  pen.fillStyle = shade;
  pen.fillRect(x, y, width, height);
}

/** Return a pseudo-random number from 0 to 1 that depends only on the index. */
function noise(index) {
  const value = Math.sin(index * 127.1 + 11.7) * 43758.5453;
  return value - Math.floor(value);
}

function stars(pen, width, horizon, time, night) {
  for (let star = 0; star < 90 && night > 0; star += 1) {
    const shine = night * (0.5 + 0.5 * Math.sin(time * (0.6 + noise(star + 300)) + star));
    pen.fillStyle = `rgba(255, 255, 255, ${(0.25 + 0.65 * shine) * night})`;
    const size = 0.6 + 1.4 * noise(star + 200);
    pen.fillRect(noise(star) * width, noise(star + 100) * horizon * 0.9, size, size);
  }
}

function sun(pen, width, height, horizon, day) {
  const arc = Math.PI * (day * 1.3 - 0.15);
  const [x, y] = [width * (0.5 - 0.42 * Math.cos(arc)), horizon * (1.05 - 0.85 * Math.sin(arc))];
  const radius = height * 0.07;
  const glow = pen.createRadialGradient(x, y, radius * 0.4, x, y, radius * 5);
  glow.addColorStop(0, "rgba(255, 224, 160, 0.85)");
  glow.addColorStop(0.25, "rgba(255, 190, 110, 0.3)");
  glow.addColorStop(1, "rgba(255, 160, 90, 0)");
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, horizon);
  pen.clip();
  pen.fillStyle = glow;
  pen.fillRect(0, 0, width, horizon);
  pen.fillStyle = "#ffe9c2";
  disc(pen, x, y, radius);
  pen.restore();
}

function disc(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function clouds(pen, width, horizon, time, night) {
  pen.fillStyle = `rgba(255, 255, 255, ${0.5 - 0.38 * night})`;
  for (let cloud = 0; cloud < 5; cloud += 1) {
    const size = horizon * (0.05 + 0.04 * noise(cloud + 40));
    const way = noise(cloud + 50) + (time * (0.004 + 0.004 * noise(cloud + 60)));
    const x = ((way % 1) * 1.4 - 0.2) * width;
    const y = horizon * (0.14 + 0.4 * noise(cloud + 70));
    pen.beginPath();
    for (const [right, down, large] of [[-1.3, 0.3, 0.7], [0, 0, 1], [1.2, 0.2, 0.8], [2.2, 0.45, 0.5]]) {
      pen.moveTo(x + right * size, y + down * size);
      pen.arc(x + right * size, y + down * size, large * size, 0, 2 * Math.PI);
    }
    pen.fill();
  }
}

function hills(pen, width, horizon, foot, top) {
  pen.fillStyle = rgb(mix(mix(foot, top, 0.55), [20, 30, 50], 0.35));
  pen.beginPath();
  pen.moveTo(0, horizon);
  for (let step = 0; step <= 60; step += 1) {
    const place = step / 60;
    const rise = Math.max(0, Math.sin(place * 5.1 + 0.4) * 0.1 + Math.sin(place * 13.7) * 0.025);
    pen.lineTo(place * width, horizon - rise * horizon);
  }
  pen.lineTo(width, horizon);
  pen.fill();
}

function waves(pen, width, height, horizon, time, light) {
  for (let wave = 0; wave < 70; wave += 1) {
    const deep = noise(wave) ** 1.6;
    const y = horizon + 3 + deep * (height - horizon - 4);
    const length = width * (0.02 + 0.09 * deep) * (0.5 + noise(wave + 500));
    const x = ((noise(wave + 600) + time * (0.008 + 0.02 * deep)) % 1.2) * width - 0.1 * width;
    pen.fillStyle = rgb(light, 0.1 + 0.22 * (0.5 + 0.5 * Math.sin(time * 1.3 + wave)));
    pen.fillRect(x, y, length, 1 + 2 * deep);
  }
}

function boat(pen, width, height, horizon, time, day) {
  const size = height * 0.1;
  const x = width * (-0.05 + 1.1 * day);
  const y = horizon + height * 0.1 + Math.sin(time * 1.6) * size * 0.05;
  pen.save();
  pen.translate(x, y);
  pen.rotate(Math.sin(time * 1.1) * 0.04);
  pen.fillStyle = "#fff6e6";
  shape(pen, [[0.05, -1.25], [0.05, -0.22], [0.72, -0.22]], size);
  pen.fillStyle = "#ffb65c";
  shape(pen, [[-0.04, -1.05], [-0.04, -0.22], [-0.55, -0.22]], size);
  pen.fillStyle = "#3a2430";
  shape(pen, [[-0.75, -0.14], [0.85, -0.14], [0.6, 0.12], [-0.55, 0.12]], size);
  pen.restore();
}

function shape(pen, points, size) {
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x * size, y * size);
  pen.closePath();
  pen.fill();
}

function counter(pen, width, height, time) {
  const size = Math.max(13, height * 0.05);
  const [x, y] = [width - size * 0.9, size * 1.5];
  pen.font = `600 ${size}px ui-monospace, "DejaVu Sans Mono", monospace`;
  pen.textAlign = "right";
  pen.fillStyle = "rgba(0, 0, 0, 0.45)";
  const text = `${clockTime(time)}.${Math.floor((time % 1) * 10)}`;
  pen.fillText(text, x + 1, y + 1);
  pen.fillStyle = "rgba(255, 255, 255, 0.92)";
  pen.fillText(text, x, y);
}
