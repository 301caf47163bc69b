import { createElement, Fragment, type ReactNode } from "react";

/**
 * The elements of a text's parts. A text only grows at its end, so a part's place among its siblings
 * is its identity, and there is no need of keys.
 */
export function inOrder<Part>(parts: readonly Part[], elementOf: (part: Part) => ReactNode) {
  return createElement(Fragment, null, ...parts.map((part) => elementOf(part)));
}
