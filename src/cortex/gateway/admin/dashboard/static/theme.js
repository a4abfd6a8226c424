// Before anything is drawn: light or dark, as was chosen here before, else as the system has it.
"use strict";
try {
  const chosen = localStorage.getItem("cortex-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing has the system's */ }
