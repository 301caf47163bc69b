"""A container without an engine: a read-only root, two folders to write, and a user without rights.

It needs root, and Linux' namespaces. What is in it is shown where it is outside, so that the
program and its packages find each other.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent

USER = 10001

SCRIPT = r"""
set -e
root=$1 user=$2 data=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs "$root"
for path in /usr /bin /sbin /lib /lib64 /etc $SHOWN; do
  [ -e "$path" ] || continue
  if [ -L "$path" ]; then cp -P "$path" "$root$path"; continue; fi
  mkdir -p "$root$path"
  mount --bind "$path" "$root$path"
  mount -o remount,bind,ro "$root$path"
done
mkdir -p "$root/proc" "$root/dev" "$root/tmp" "$root/data"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
chown "$user:$user" "$data"
mount --bind "$data" "$root/data"
mount -o remount,ro "$root"
cd "$root"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all --ambient-caps=-all "$@"
"""


def no_cage() -> str | None:
    """Why there can be no cage here, or None if there can."""
    if os.geteuid() != 0:
        return "it needs root"
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        check=False,
        capture_output=True,
        text=True,
    )
    return None if done.returncode == 0 else done.stderr.strip()


@contextmanager
def cage(folder: Path) -> Iterator[tuple[list[str], Path]]:
    """The beginning of a command that runs in a cage, and its /data as it is seen from outside.

    The command, of which each word is a path or an argument there, becomes the process itself.
    """
    root, data = folder / "root", folder / "data"
    for made in (root, data):
        made.mkdir(parents=True)
    # The interpreter may be below a folder that nobody else may enter; there, it is not.
    shown = dict.fromkeys(
        str(path.resolve()) for path in (Path(sys.base_prefix), Path(sys.prefix), ROOT)
    )
    variables = [f"SHOWN={' '.join(shown)}"]
    command = ["env", *variables, "unshare", "--mount", "--propagation", "private"]
    yield [*command, "sh", "-c", SCRIPT, "cage", str(root), str(USER), str(data)], data
