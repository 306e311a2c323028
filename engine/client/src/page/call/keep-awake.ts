import type { Scope } from "../signal";

/** Keeps a phone's screen on during a call; browsers let go of it whenever the page is hidden. */
export function keepAwake(scope: Scope): void {
  const { wakeLock } = navigator as { wakeLock?: WakeLock };
  if (!wakeLock) return;
  let lock: WakeLockSentinel | null = null;
  let over = false;
  const request = async () => {
    if (document.visibilityState !== "visible") return;
    // Refused on low battery: the call goes on without it.
    lock = await wakeLock.request("screen").catch(() => null);
    if (over) await lock?.release();
  };
  const onVisible = () => void request();
  document.addEventListener("visibilitychange", onVisible);
  scope.add(() => {
    over = true;
    document.removeEventListener("visibilitychange", onVisible);
    void lock?.release();
  });
  void request();
}
