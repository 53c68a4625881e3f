// Pictures on their way to the server: read, turned upright, made small, and freed of what the camera wrote into them.
//
//   const { url, width, height } = await prepare(file);      a data URL with at most SIDE pixels a side
//
// Throws an error with a text for people when the file is no picture that this browser can read.

import { t } from "./i18n.js";

const SIDE = 1024;
const LARGEST = 100e6; // bytes; a phone gives up on more
const LOSSLESS = 600e3; // characters of a PNG's data URL; a longer one becomes a JPEG

export async function prepare(file) {
  const name = file.name || "?";
  if (file.type && !file.type.startsWith("image/")) throw new Error(t("classify.no.picture", { name }));
  if (file.size > LARGEST) throw new Error(t("classify.large", { name }));
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error(t("classify.unreadable", { name }));
  }
  const drawn = toDataUrl(image, image.width, image.height, file.type === "image/png");
  image.close();
  return drawn;
}

// Anything that a canvas can draw: an image, or the present picture of a video.
export function toDataUrl(source, width, height, lossless = false) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  // Paper below: what is transparent would turn black in a JPEG.
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const png = lossless ? canvas.toDataURL("image/png") : "";
  const url = png && png.length <= LOSSLESS ? png : canvas.toDataURL("image/jpeg", 0.9);
  return { url, width: canvas.width, height: canvas.height };
}
