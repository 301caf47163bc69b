// Together under the 8 seconds in which a dead socket has to be found.
const QUIET = 4000;
const ANSWER = 3000;
// A timer that fires so much too late says that the page slept, not that the socket is dead.
const LATE = 1000;

/** Finds sockets that look open and are dead: asks with a ping what says nothing, and wants an answer. */
export class Watchdog {
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param ping asks the server for a word.
   * @param dead is called when none came.
   */
  constructor(
    private readonly ping: () => void,
    private readonly dead: () => void,
  ) {}

  /** Something came. */
  heard(): void {
    this.#after(QUIET, () => this.check());
  }

  /** Asks now, for an answer within so many milliseconds. */
  check(deadline = ANSWER): void {
    this.ping();
    this.expect(deadline);
  }

  /** Wants to hear something within so many milliseconds. */
  expect(deadline: number): void {
    this.#after(deadline, (lateness) => {
      // What came while the page slept waits behind this timer: it is given the time to be heard.
      if (lateness > LATE) this.#after(LATE, this.dead);
      else this.dead();
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #after(delay: number, action: (lateness: number) => void): void {
    clearTimeout(this.#timer);
    const due = performance.now() + delay;
    this.#timer = setTimeout(() => action(performance.now() - due), delay);
  }
}
