import { common, createLowlight } from "lowlight";

const lowlight = createLowlight(common);

/** The code as a tree of spans with classes; null for a language that we don't know. */
export function highlight(code: string, language: string) {
  return lowlight.registered(language) ? lowlight.highlight(language, code).children : null;
}

export type Highlighted = NonNullable<ReturnType<typeof highlight>>;
