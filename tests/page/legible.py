"""What cannot be read or used, asked of the browser itself: each gives a list of faults."""

PALE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) => {
      const c = byte / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return [...document.querySelectorAll("body *")].filter((e) => words(e) && seen(e)).filter((e) => {
    const behind = [];
    for (let up = e; up; up = up.parentElement) {
      behind.unshift(getComputedStyle(up).backgroundColor);
    }
    const ground = paint(["#fff", ...behind]);
    const ink = paint(["#fff", ...behind, getComputedStyle(e).color]);
    const [dark, light] = [ground, ink].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05) < 4.5;
  }).map((e) => e.textContent);
}"""
TOO_WIDE = """() => {
  const root = document.documentElement;
  return root.scrollWidth > root.clientWidth || innerWidth > screen.width
    ? [root.scrollWidth, innerWidth] : [];
}"""
# Controls that a finger misses; a link in a line of text may be as high as the line.
TOO_SMALL = """() => [...document.querySelectorAll("button, summary, label, a, [data-edges]")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.matches(".skip"))
  .filter((e) => {
    const { width, height } = e.getBoundingClientRect();
    return height < 43.5 || (width < 43.5 && !e.matches("nav a, dd a"));
  }).map((e) => e.textContent || e.dataset.edges)"""
