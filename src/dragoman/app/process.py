"""What every process of the server has: clocks, a log, and a way to say where the server listens."""

from __future__ import annotations

import logging
import socket
import sys
import time
from contextlib import ExitStack

from dragoman.config import Config
from dragoman.web.request_log import JsonLogFormatter

PORT_FILE = "port"
LIMITS_FILE = "limits"
"""Where all processes of a data directory count who asked how often."""

_log = logging.getLogger("dragoman.app")


class SystemClock:
    """The machine's clocks."""

    # Asked ten times a request: no call of ours around the machine's.
    monotonic_s = staticmethod(time.monotonic)
    unix_s = staticmethod(time.time)


def set_up_logging(config: Config) -> None:
    """Everything but the request log goes through the standard library's, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLogFormatter() if config.log_format == "json" else logging.Formatter("%(message)s")
    )
    logger = logging.getLogger("dragoman")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(config.log_level.upper())


def tell_port(config: Config, sock: socket.socket, closing: ExitStack) -> None:
    """Say where the server listens: in the log, and to local tools in a file."""
    host, port = sock.getsockname()[:2]
    path = config.data_dir / PORT_FILE
    path.write_text(str(port))
    closing.callback(path.unlink, missing_ok=True)
    _log.info("listening on %s", url_of(host, port))


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
