/** What a view must undo when it goes: listeners, timers, subscriptions. */
export class Scope {
  #ends: (() => void)[] = [];
  #ended = false;

  add(end: () => void): void {
    if (this.#ended) end();
    else this.#ends.push(end);
  }

  every(ms: number, task: () => void): void {
    const timer = setInterval(task, ms);
    this.add(() => clearInterval(timer));
  }

  listen<N extends keyof WindowEventMap>(name: N, handler: (event: WindowEventMap[N]) => void): void {
    window.addEventListener(name, handler);
    this.add(() => window.removeEventListener(name, handler));
  }

  end(): void {
    this.#ended = true;
    for (const end of this.#ends.splice(0).reverse()) end();
  }
}

/** A value that views follow. */
export class Signal<T> {
  #value: T;
  #watchers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
    for (const watcher of [...this.#watchers]) watcher(value);
  }

  /** Calls `watcher` now and after every change, until the scope ends. */
  watch(scope: Scope, watcher: (value: T) => void): void {
    this.#watchers.add(watcher);
    scope.add(() => this.#watchers.delete(watcher));
    watcher(this.#value);
  }

  /** As `watch`, with a scope of its own for what each value draws; it ends when the next one comes. */
  draw(scope: Scope, drawer: (value: T, inner: Scope) => void): void {
    let inner = new Scope();
    scope.add(() => inner.end());
    this.watch(scope, (value) => {
      inner.end();
      inner = new Scope();
      drawer(value, inner);
    });
  }
}
