import { Component, type ReactNode } from "react";

/** Shows the text as it is when what should show it fails: no text can take the page down. */
export class PlainIfBroken extends Component<
  { text: string; children: ReactNode },
  { isBroken: boolean }
> {
  override state = { isBroken: false };

  static getDerivedStateFromError() {
    return { isBroken: true };
  }

  override render() {
    const { text, children } = this.props;
    return this.state.isBroken ? <p className="bubble">{text}</p> : children;
  }
}
