"""The first program of a tool server's process group: starts the server, and ends the group when we die.

Run by path, with nothing of ours imported: `python -I -S launcher.py PARENT_PID PROGRAM [ARGUMENT…]`.
The kernel's signal at a parent's death reaches this process alone, and not what the server has started in
turn; so this process stays, and takes the whole group with it.
https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_S = 0.5
NOT_STARTED = 127


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _end_group)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Event loops may leave copies of the pipes open.
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    try:
        child = os.posix_spawnp(
            command[0], command, os.environ, setsigdef=[signal.SIGTERM, signal.SIGPIPE]
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NOT_STARTED)
    # Only the server holds its pipes: when it ends, they do.
    os.close(0)
    os.close(1)
    if sys.platform == "linux":
        os.waitpid(child, 0)
    else:
        while os.waitpid(child, os.WNOHANG) == (0, 0) and os.getppid() == parent:
            time.sleep(WATCH_S)
    _end_group()


def _end_group(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
