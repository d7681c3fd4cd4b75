// Enlarges figures, and opens what is folded away before printing. Without it, the page says the same.
const dialog = document.getElementById("enlarged");
const place = dialog.querySelector("div");

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.enlarge");
  if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const figure = link.closest("figure").cloneNode(true);
  figure.removeAttribute("id");
  const copy = figure.querySelector("a.enlarge");
  const shown = copy.firstElementChild;
  copy.replaceWith(shown);
  if (shown.hasAttribute("width")) {
    // Whole multiples keep the pixels of pictures square.
    const width = Number(shown.getAttribute("width"));
    const times = Math.max(1, Math.ceil((1.2 * link.clientWidth) / width));
    shown.style.width = times * width + "px";
  }
  place.replaceChildren(figure);
  dialog.showModal();
  place.scrollTo(0, 0);
});

// A click beside the figure closes, as Escape does.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
