// Draws each figure once it comes near the window, so that a page of many figures opens at once; all of them to print.
const waiting = new Map([...document.querySelectorAll(".figure")].map((place) => [place, place.nextElementSibling]));
function draw(place) {
  const source = waiting.get(place);
  if (!source) return;
  waiting.delete(place);
  const { data, layout } = JSON.parse(source.textContent);
  Plotly.newPlot(place, data, layout, { displaylogo: false, responsive: true });
}
const watch = new IntersectionObserver(
  (seen) => seen.filter((each) => each.isIntersecting).forEach((each) => draw(each.target)),
  { rootMargin: "300px" },
);
waiting.forEach((_, place) => watch.observe(place));
window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(draw));
