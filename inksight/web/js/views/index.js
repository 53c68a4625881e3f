// The views, in the order of the menu. A view exports {id, mount(root, {notice, status, again})}; mount fills `root` and
// returns a function that undoes what outlives the elements (timers, listeners on window). `again` shows it afresh. Its
// title is the text "view.<id>". One with a `parent` is reached from that view and not in the menu.

import classify from "./classify.js";
import draw from "./draw.js";
import eye from "./eye.js";
import models from "./models.js";
import pictionary from "./pictionary.js";
import race from "./race.js";
import review from "./review.js";

export const views = [draw, pictionary, eye, race, classify, models, review];
