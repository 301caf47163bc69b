import { createContext, type ReactNode, useContext, useState } from "react";

interface Announcement {
  text: string;
  /** Tells a second announcement of the same words from the first. */
  number: number;
}

const Announcements = createContext<Announcement>({ text: "", number: 0 });
const Announce = createContext<(text: string) => void>(() => {});

/** Lets everything inside say something politely: ConnectionStatus, the one status region, says it. */
export function Announcer({ children }: { children: ReactNode }) {
  const [announcement, setAnnouncement] = useState<Announcement>({ text: "", number: 0 });
  const [announce] = useState(
    () => (text: string) => setAnnouncement(({ number }) => ({ text, number: number + 1 })),
  );
  return (
    <Announce value={announce}>
      <Announcements value={announcement}>{children}</Announcements>
    </Announce>
  );
}

export function useAnnounce(): (text: string) => void {
  return useContext(Announce);
}

export function useAnnouncement(): Announcement {
  return useContext(Announcements);
}
