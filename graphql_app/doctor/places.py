"""Where addresses lead."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, seen from itself only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
