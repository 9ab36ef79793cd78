// Before the first paint, so that a chosen theme does not flash.
"use strict";
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("rustyclaw.theme") || "auto";
  } catch {
    // Storage may be forbidden; the system's choice is a good one.
  }
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
})();
