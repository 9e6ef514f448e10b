// The colours that were chosen last, before the first paint. "auto" follows the system.
"use strict";
try {
  document.documentElement.dataset.theme = localStorage.getItem("cupdisc-theme") ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
