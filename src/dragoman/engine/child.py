"""The engine's child process: llama.cpp's server on a private Unix socket, and nothing else.

Its settings, the socket's key among them, come as one line of JSON on standard input, so that no
secret is in the argument list or the environment. Standard input then stays open as a lifeline: at
its end, the parent is gone, and so is the child. One line of JSON on standard output says that the
model is loaded. Only this module imports the native library.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import resource
import signal
import socket
import sys
import threading
from typing import BinaryIO

import msgspec

from dragoman.engine.link import ChildReady, ChildSettings

PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""

BATCH_TOKENS = 256
"""Prompt tokens between two signs of progress: larger batches measured no faster."""


def main() -> None:
    lifeline = sys.stdin.buffer
    # Whatever the native library prints goes to the log, never between us and the parent.
    report = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings = msgspec.json.decode(lifeline.readline(), type=ChildSettings)
    _die_with_parent(settings.parent_pid, lifeline)
    # Data, not address space: a model file is mapped, and accelerators reserve far more than they use.
    limit = settings.memory_limit_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Its threads meet hundreds of times a token. Spinning until all are there costs half to nine tenths
    # of the speed as soon as anything else wants a processor; sleeping costs a sixth of it where nothing
    # does, and a twentieth with eight answers at once.
    # https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
    os.putenv("OMP_WAIT_POLICY", "passive")

    import xllamacpp  # noqa: PLC0415  # only after the limits, and only in this process

    params = xllamacpp.CommonParams()
    params.model.path = settings.model_path
    params.hostnames = [settings.socket_path]
    params.api_keys = [settings.key]
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context_tokens
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.n_gpu_layers = settings.gpu_layers
    params.cache_ram_mib = settings.prompt_cache_mib
    # The size of the context is the user's word; it is not shrunk to what memory seems to be free.
    params.fit_params = False
    if settings.chat_template is not None:
        params.chat_template = settings.chat_template
    server = xllamacpp.Server(params)
    ready = _describe(settings, f"xllamacpp {xllamacpp.__version__}")
    report.write(msgspec.json.encode(ready) + b"\n")
    report.flush()
    threading.Event().wait()
    del server  # it serves for as long as it is referred to


class _TemplateCaps(msgspec.Struct):
    supports_tools: bool = False
    supports_tool_calls: bool = False


class _Defaults(msgspec.Struct):
    n_ctx: int


class _Props(msgspec.Struct):
    default_generation_settings: _Defaults
    chat_template_caps: _TemplateCaps = msgspec.field(default_factory=_TemplateCaps)


class _Meta(msgspec.Struct):
    n_vocab: int


class _ModelEntry(msgspec.Struct):
    meta: _Meta


class _Models(msgspec.Struct):
    data: list[_ModelEntry]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(settings: ChildSettings, path: str) -> bytes:
    connection = _UnixConnection(settings.socket_path)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {settings.key}"})
        return connection.getresponse().read()
    finally:
        connection.close()


def _describe(settings: ChildSettings, build: str) -> ChildReady:
    """Learn from the running server what its model is and can do."""
    props = msgspec.json.decode(_ask(settings, "/props"), type=_Props)
    models = msgspec.json.decode(_ask(settings, "/v1/models"), type=_Models)
    caps = props.chat_template_caps
    return ChildReady(
        build=build,
        vocabulary=models.data[0].meta.n_vocab,
        context_tokens=props.default_generation_settings.n_ctx,
        knows_tools=caps.supports_tools and caps.supports_tool_calls,
    )


def _die_with_parent(parent_pid: int, lifeline: BinaryIO) -> None:
    """Make sure that no engine outlives its server, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)

    def watch() -> None:
        lifeline.read()
        os._exit(0)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    main()
