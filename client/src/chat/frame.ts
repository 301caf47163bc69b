// A page that is hidden draws no frames, and its text should grow all the same.
const WITHOUT_FRAMES = 250;

/** Returns a function that has `write` called once before the next frame, however often it is called. */
export function oncePerFrame(write: () => void): () => void {
  let frame: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const run = () => {
    cancelAnimationFrame(frame as number);
    clearTimeout(timer);
    frame = undefined;
    write();
  };
  return () => {
    if (frame !== undefined) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, WITHOUT_FRAMES);
  };
}
