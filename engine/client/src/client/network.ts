/** What of `navigator.connection` is of use; phones know the type, desktops mostly do not. */
export interface NetworkConnection extends EventTarget {
  readonly type?: string | undefined;
}

type Page = Pick<EventTarget, "addEventListener" | "removeEventListener">;

/**
 * Calls `changed` when the device comes online and when it goes over to another kind of network (from Wi-Fi to
 * mobile, say), even if the old one still works. Returns how to stop.
 */
export function watchNetwork(
  changed: () => void,
  page: Partial<Page> = globalThis,
  connection = (globalThis.navigator as { connection?: NetworkConnection } | undefined)?.connection,
): () => void {
  let type = connection?.type;
  // The event also tells of new estimates of speed, which are no reason to do anything.
  const onChange = () => {
    const before = type;
    type = connection?.type;
    if (type !== before && type !== "none") changed();
  };
  page.addEventListener?.("online", changed);
  connection?.addEventListener("change", onChange);
  return () => {
    page.removeEventListener?.("online", changed);
    connection?.removeEventListener("change", onChange);
  };
}
