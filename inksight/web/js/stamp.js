// The bitmap that the model sees, shown as a stamp: dark ink on light paper whatever the theme.

import { render, simplify } from "./render.js";

export function showBitmap(canvas, strokes) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  const bitmap = strokes.length ? render(simplify(strokes)) : null;
  for (let index = 0; index < 784; index++) {
    image.data.set([29, 36, 51, bitmap ? bitmap[index] : 0], 4 * index);
  }
  context.putImageData(image, 0, 0);
}
