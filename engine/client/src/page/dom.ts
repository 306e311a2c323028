import type { TestId } from "./testids";

export type Child = Node | string | number | null | undefined | false;

export interface Props {
  class?: string;
  testid?: TestId;
  on?: { [N in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[N]) => void };
  [attribute: string]: unknown;
}

/**
 * An element. Attributes are set as such (true: present, false, null and undefined: absent), children are
 * nodes or text, never markup: what a stranger wrote can't become an element.
 */
export function h<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) setProp(element, name, value);
  append(element, children);
  return element;
}

export function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

function setProp(element: HTMLElement, name: string, value: unknown): void {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") {
    for (const [event, handler] of Object.entries(value as object)) element.addEventListener(event, handler);
  } else if (name === "testid") {
    element.dataset.testid = String(value);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Sets text only when it changed, so that selections and screen readers are left alone. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element: HTMLElement, visible: boolean): void {
  element.hidden = !visible;
}
