/* guestbook v1 */
"use strict";
// The banner: shown while the node's agent says that writes are not open.
async function showMode() {
  try {
    const mode = await (await fetch("/mode.json", { cache: "no-store" })).json();
    document.getElementById("read-only").hidden = mode.readOnly !== true;
  } catch (error) {
    // The next look will tell.
  }
}
showMode();
setInterval(showMode, 5000);
