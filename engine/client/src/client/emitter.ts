type Handler<T> = (value: T) => void;

/** A small typed emitter; `on` returns the function that takes the handler off again. */
export class Emitter<Events extends object> {
  #handlers = new Map<keyof Events, Set<Handler<never>>>();

  on<N extends keyof Events>(name: N, handler: Handler<Events[N]>): () => void {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers);
    handlers.add(handler as Handler<never>);
    return () => handlers.delete(handler as Handler<never>);
  }

  once<N extends keyof Events>(name: N, handler: Handler<Events[N]>): () => void {
    const off = this.on(name, (value) => {
      off();
      handler(value);
    });
    return off;
  }

  /** Calls every handler; one that throws does not keep the others from being called. */
  protected emit<N extends keyof Events>(name: N, value: Events[N]): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        (handler as Handler<Events[N]>)(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  protected forgetHandlers(): void {
    this.#handlers.clear();
  }
}
