// Buttons that copy the text of another element. Where the browser gives no clipboard (pages without TLS), the text is
// selected, so that Ctrl-C does it.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  const from = button && document.getElementById(button.dataset.copy);
  if (!from) return;
  const said = document.getElementById("said");
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = said.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = said.textContent = "Press Ctrl+C";
  }
});
