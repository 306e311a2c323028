type Pattern = { tones: number[]; onMs: number; offMs: number; gain: number };

/** What the caller hears while waiting, and what the expert hears when a call comes in. */
const PATTERNS = {
  waiting: { tones: [425], onMs: 1_000, offMs: 3_000, gain: 0.05 },
  incoming: { tones: [523.25, 659.25], onMs: 700, offMs: 1_300, gain: 0.12 },
} satisfies Record<string, Pattern>;

export type Ringing = keyof typeof PATTERNS;

/** Ring tones made by WebAudio: nothing to download, nothing to license. */
export class Sounds {
  #context: AudioContext | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #playing: Ringing | null = null;

  /** Browsers stay silent until the user has touched the page. */
  get blocked(): boolean {
    return this.#context?.state === "suspended";
  }

  async unlock(): Promise<void> {
    await this.#open().resume();
  }

  ring(kind: Ringing): void {
    if (this.#playing === kind) return;
    this.stop();
    this.#playing = kind;
    const { onMs, offMs } = PATTERNS[kind];
    this.#burst(PATTERNS[kind]);
    this.#timer = setInterval(() => this.#burst(PATTERNS[kind]), onMs + offMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#playing = null;
  }

  /** One short tone, for a warning. */
  chime(): void {
    this.#burst({ tones: [880, 660], onMs: 250, offMs: 0, gain: 0.08 });
  }

  #burst({ tones, onMs, gain }: Pattern): void {
    const context = this.#open();
    if (context.state !== "running") {
      context.resume().catch(() => undefined);
      return;
    }
    const slice = onMs / 1000 / tones.length;
    tones.forEach((hertz, index) => {
      tone(context, hertz, context.currentTime + index * slice, slice, gain);
    });
  }

  #open(): AudioContext {
    this.#context ??= new AudioContext();
    return this.#context;
  }
}

function tone(context: AudioContext, hertz: number, startS: number, lengthS: number, peak: number): void {
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  oscillator.frequency.value = hertz;
  gain.gain.setValueAtTime(0, startS);
  gain.gain.linearRampToValueAtTime(peak, startS + 0.03);
  gain.gain.setValueAtTime(peak, startS + lengthS - 0.05);
  gain.gain.linearRampToValueAtTime(0, startS + lengthS);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(startS);
  oscillator.stop(startS + lengthS);
}
