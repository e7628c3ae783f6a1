"""The servers that are measured, each in front of the same provider."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from bench.payloads import KEY, MODEL, PROJECT, request_body
from bench.processes import Process, free_port

ROOT = Path(__file__).parent.parent


class Server(Protocol):
    """Something that proxies completions."""

    name: str
    path: str
    model: str
    """What requests ask for."""
    port: int
    process: Process

    def features(self) -> tuple[str, ...]:
        """What is switched on, as the running server tells it."""
        ...


def start_provider(core: int, folder: Path) -> tuple[Process, int]:
    port = free_port()
    process = Process(
        [sys.executable, "-m", "bench.provider", str(port)],
        core=core,
        log=folder / "provider.log",
        environment={"PYTHONPATH": str(ROOT)},
    )
    process.wait_for_port(port)
    return process, port


class Nginx:
    """A plain reverse proxy with a key check: as little as a gateway can do."""

    name = "nginx"
    model = MODEL
    path = "/v1/chat/completions"

    def __init__(self, provider_port: int, core: int, folder: Path) -> None:
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(_nginx_config(self.port, provider_port, folder))
        self.process = Process(
            [nginx_binary() or "nginx", "-c", str(config), "-e", str(folder / "nginx-error.log")],
            core=core,
            log=folder / "nginx.log",
        )
        self.process.wait_for_port(self.port)

    def features(self) -> tuple[str, ...]:
        """Read from its answer to a wrong key: nginx has no other feature to tell of."""
        status, _ = ask(self.port, "POST", self.path, request_body(stream=False), key="wrong")
        return ("key check",) if status == 401 else ()


def nginx_binary() -> str | None:
    # Debian keeps it where only root's PATH looks.
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _nginx_config(port: int, provider_port: int, folder: Path) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  map_hash_bucket_size 128;
  map $http_authorization $is_known {{ default 0; "Bearer {KEY}" 1; }}
  upstream provider {{
    server 127.0.0.1:{provider_port};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      if ($is_known = 0) {{ return 401; }}
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


class _Health(msgspec.Struct):
    version: str
    features: dict[str, bool]


class Gateway:
    """Dragoman as an operator starts it: `dragoman serve`, one provider, no embedded model."""

    path = "/v1/chat/completions"

    def __init__(
        self,
        provider_port: int,
        core: int,
        folder: Path,
        *,
        runner: tuple[str, ...] = (),
        accounting: bool = True,
        logs_requests: bool = False,
        asks_project: bool = False,
    ) -> None:
        self.model = PROJECT if asks_project else MODEL
        self.name = "dragoman, all on" if logs_requests else "dragoman"
        if not accounting:
            self.name = "dragoman, accounting off"
        if asks_project:
            self.name = "dragoman, a project"
        self.port = free_port()
        config = folder / "dragoman.toml"
        config.write_text(
            _gateway_config(provider_port, accounting=accounting, logs_requests=logs_requests)
        )
        command = runner or (str(Path(sys.executable).with_name("dragoman")),)
        self.started_s = time.perf_counter()
        self.process = Process(
            [*command, "serve"],
            core=core,
            log=folder / "dragoman.log",
            environment={
                "DRAGOMAN_CONFIG": str(config),
                "DRAGOMAN_HOST": "127.0.0.1",
                "DRAGOMAN_PORT": str(self.port),
                "DRAGOMAN_DATA_DIR": str(folder / "data"),
                "DRAGOMAN_BOOTSTRAP_KEY": KEY,
            },
        )

    def first_completion_s(self) -> float:
        """Seconds from the process's start to its first whole answer."""
        self.process.wait_for_port(self.port)
        try:
            status, answer = ask(self.port, "POST", self.path, request_body(stream=False))
        except OSError:
            self.process.wait_to_tell()
            raise
        elapsed_s = time.perf_counter() - self.started_s
        if status != 200:
            raise RuntimeError(f"the first completion was answered with {status}: {answer!r}")
        return elapsed_s

    def health(self) -> _Health:
        status, body = ask(self.port, "GET", "/healthz")
        if status != 200:
            raise RuntimeError(f"/healthz answered {status}")
        return msgspec.json.decode(body, type=_Health)

    def features(self) -> tuple[str, ...]:
        return tuple(name for name, is_on in sorted(self.health().features.items()) if is_on)


def _gateway_config(provider_port: int, *, accounting: bool, logs_requests: bool) -> str:
    return f"""\
embedded_model = false
accounting = {str(accounting).lower()}
default_model = "{MODEL}"
log_level = "{"info" if logs_requests else "warning"}"

[[providers]]
name = "bench"
wire = "openai"
base_url = "http://127.0.0.1:{provider_port}/v1"

[[providers.models]]
id = "{MODEL}"
max_output_tokens = 4096
price = {{ input = 0.15, cached_input = 0.075, output = 0.6 }}

[[projects]]
key = "{PROJECT}"

[[projects.models]]
model = "{MODEL}"
template = "bench"

[[projects.templates]]
key = "bench"
text = "You help {{{{customer}}}}."
arguments = [{{ name = "customer", default = "a customer" }}]
"""


def ask(
    port: int, method: str, path: str, body: bytes | None = None, *, key: str = KEY
) -> tuple[int, bytes]:
    """One request on a connection of its own: its status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        with suppress(OSError):
            connection.close()
