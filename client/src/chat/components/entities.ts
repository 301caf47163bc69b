/** The text with `&copy;` and its like as characters: the browser knows all two thousand names. */
export function characters(text: string): string {
  if (!/&[a-z]/i.test(text)) return text;
  const source = text.replace(/&(?![a-z]\w*;)|</gi, (mark) => (mark === "<" ? "&lt;" : "&amp;"));
  return new DOMParser().parseFromString(`<body>${source}`, "text/html").body.textContent ?? text;
}
