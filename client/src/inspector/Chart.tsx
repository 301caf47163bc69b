import type { ChunkRecord } from "./recorder";

const WIDTH = 360;
const HEIGHT = 48;

/** The chunks of a stream over time: how long each was, and where an operation began. */
export function Chart({ chunks }: { chunks: readonly ChunkRecord[] }) {
  const begin = chunks[0]?.at ?? 0;
  const span = Math.max(1, (chunks.at(-1)?.at ?? 0) - begin);
  const longest = Math.max(1, ...chunks.map(({ length }) => length));
  const line = ({ at, length }: ChunkRecord) =>
    `M${1 + ((at - begin) / span) * (WIDTH - 2)} ${HEIGHT}v${(-length / longest) * HEIGHT}`;
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
        d={chunks
          .filter(({ isFirst }) => isFirst)
          .map((one) => line({ ...one, length: longest }))
          .join("")}
      />
      <path d={chunks.map(line).join("")} />
    </svg>
  );
}
