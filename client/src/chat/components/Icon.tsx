import type { ComponentProps } from "react";

const DRAWINGS = {
  alert: "M12 9v4.5m0 3v.1M12 4 21 19.5H3Z",
  check: "m5 13 4.5 4.5L19 7.5",
  clear: "M5 7h14M10 4h4M7 7l1 13h8l1-13m-7 4v5m4-5v5",
  copy: "M11.5 9h6a2.5 2.5 0 0 1 2.5 2.5v6a2.5 2.5 0 0 1-2.5 2.5h-6A2.5 2.5 0 0 1 9 17.5v-6A2.5 2.5 0 0 1 11.5 9ZM15 9V6.5A2.5 2.5 0 0 0 12.5 4h-6A2.5 2.5 0 0 0 4 6.5v6A2.5 2.5 0 0 0 6.5 15H9",
  down: "M12 5v14m6-6-6 6-6-6",
  edit: "m5 19 1-4L16 5l3 3L9 18Z",
  inspect: "M3 12h4l3-7 4 14 3-7h4",
  interrupt: "M9 6v12m6-12v12",
  leave: "M14 8V5H5v14h9v-3m-5-4h11m-4-4 4 4-4 4",
  list: "M4 7h16M4 12h16M4 17h10",
  new: "M12 5v14M5 12h14",
  next: "m10 6 6 6-6 6",
  previous: "m14 6-6 6 6 6",
  regenerate: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  resume: "m8 5 11 7-11 7Z",
  send: "M12 19V5m-6 6 6-6 6 6",
  stop: "M8.5 7h7A1.5 1.5 0 0 1 17 8.5v7a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 7 15.5v-7A1.5 1.5 0 0 1 8.5 7Z",
};

type IconName = keyof typeof DRAWINGS;

/** A drawing beside a word, or in a button with a name of its own: nothing that must be read out. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={DRAWINGS[name]} />
    </svg>
  );
}

interface IconButtonProps extends ComponentProps<"button"> {
  icon: IconName;
  name: string;
}

/** A button that shows a drawing alone. */
export function IconButton({ icon, name, className = "", ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      className={`icon-only ${className}`}
      aria-label={name}
      title={name}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}
