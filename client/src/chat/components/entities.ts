const known = new Map<string, string>();

/** The text with `&copy;` and its like as characters. (The lexer did the numbered ones.) */
export function characters(text: string): string {
  return text.replace(/&[a-z][a-z0-9]{1,31};/gi, (entity) => {
    let character = known.get(entity);
    if (character === undefined) {
      // The browser knows all two thousand names. No script runs in such a document.
      character = new DOMParser().parseFromString(entity, "text/html").body.textContent ?? entity;
      known.set(entity, character);
    }
    return character;
  });
}
