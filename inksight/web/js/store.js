// What the page remembers, in "localStorage" or "sessionStorage". Where the browser blocks those (even to look at them
// throws then) or they are full, it is remembered until the page is loaded again.
//
//   write("localStorage", "inksight.voice", "off"); read("localStorage", "inksight.voice"); remove(...)

const unsaved = new Map();
const place = (area, key) => `${area} ${key}`;

// The text, or null.
export function read(area, key) {
  try {
    return unsaved.get(place(area, key)) ?? globalThis[area].getItem(key);
  } catch {
    return null;
  }
}

export function write(area, key, value) {
  unsaved.delete(place(area, key));
  try {
    globalThis[area].setItem(key, value);
  } catch {
    unsaved.set(place(area, key), String(value));
  }
}

export function remove(area, key) {
  unsaved.delete(place(area, key));
  try {
    globalThis[area].removeItem(key);
  } catch {
    // Nothing was saved there.
  }
}
