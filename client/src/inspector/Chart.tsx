import type { ChunkRecord } from "./recorder";

const WIDTH = 360;
const HEIGHT = 48;

/** The chunks of a stream over time: how long each was, and where an operation began. */
export function Chart({ chunks }: { chunks: readonly ChunkRecord[] }) {
  const begin = chunks[0]?.at ?? 0;
  const span = Math.max(1, (chunks.at(-1)?.at ?? 0) - begin);
  const longest = Math.max(1, ...chunks.map(({ length }) => length));
  const x = ({ at }: ChunkRecord) => (1 + ((at - begin) / span) * (WIDTH - 2)).toFixed(1);
  // By the logarithm, since what comes at once after a cut would flatten everything else.
  const top = ({ length }: ChunkRecord) =>
    (HEIGHT - (Math.log1p(length) / Math.log1p(longest)) * (HEIGHT - 2)).toFixed(1);

  return (
    <svg
      className="inspector-chart"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`Sizes of the last ${chunks.length} chunks, ${longest} characters at most`}
    >
      <path
        className="inspector-starts"
        d={chunks.map((chunk) => (chunk.isFirst ? `M${x(chunk)} 0V${HEIGHT}` : "")).join("")}
      />
      <path d={chunks.map((chunk) => `M${x(chunk)} ${HEIGHT}V${top(chunk)}`).join("")} />
    </svg>
  );
}
