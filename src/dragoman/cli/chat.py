"""`dragoman chat`: a streaming conversation in the terminal.

Which key it uses: `--key`, else `$DRAGOMAN_API_KEY`, else one of its own. The last is made in the
key store of this machine's data directory for this one conversation and revoked at its end; its
secret is only ever in this process's memory. It needs no more rights than `dragoman keys create`
does, and it is only sent to a server on this machine.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from dragoman.cli.terminal import (
    ConfigOption,
    DataDirOption,
    Failure,
    err,
    local_url,
    opened_store,
    read_config,
)

if TYPE_CHECKING:
    import asyncio

    from dragoman.cli.conversation import Conversation
    from dragoman.config import Config

MAX_INPUT_CHARS = 1024 * 1024
PROMPT_BEAT_S = 0.2
SESSION_KEY_NAME = "dragoman chat"

HELP = """\
/help           this
/model [NAME]   answer with another model, or say which one answers
/models         list the server's models
/system [TEXT]  set the system message, or remove it
/clear          forget the conversation
/quit           end (Ctrl-D does too); Ctrl-C stops an answer
Anything else is sent to the model. A line that begins with // is sent with one /."""

# A model's text must not move the cursor or talk to the terminal: escape and other controls go.
_CONTROLS = {code: None for code in (*range(32), 127, *range(128, 160)) if chr(code) not in "\n\t"}


def chat(
    message: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MESSAGE]...",
            help="Ask this and end; - is the text on stdin. Without it a conversation begins.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="An id or alias.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", metavar="TEXT", help="A system message.")
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "-t",
            min=0,
            max=2,
            help="How freely tokens are drawn. Models that take no temperature take 1.",
        ),
    ] = 0.2,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="DRAGOMAN_URL", metavar="URL", help="The server, where it is not the local one."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="DRAGOMAN_API_KEY",
            metavar="SECRET",
            help="A key of the server. The local one needs none.",
        ),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Talk with any model of a running server.

    With a message, or text on stdin, it answers that and ends; otherwise it is a conversation, in
    which /help lists what can be done.
    """
    import asyncio

    from dragoman.cli.conversation import Conversation, ServerSaidNo

    settings = read_config(config, data_dir=data_dir)
    question = _question(message or [])
    address = url or local_url(settings)
    ending = _Ending()
    with _secret(settings, address, key) as secret, asyncio.Runner() as runner:
        try:
            conversation = Conversation(address, secret, settings.proxies)
        except ServerSaidNo as error:
            raise Failure(str(error), exit_code=2) from None
        conversation.system = system
        conversation.temperature = temperature
        conversation.model = model or ("" if url else settings.default_model)
        try:
            if not conversation.model:
                conversation.model = _first(runner.run(conversation.list_models()))
            if question is not None:
                runner.run(_answer(conversation, question))
            else:
                _converse(runner, conversation, ending)
        except ServerSaidNo as error:
            raise Failure(str(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(128 + (ending.signal or signal.SIGINT)) from None
        finally:
            runner.run(conversation.aclose())


def _question(words: list[str]) -> str | None:
    if not words and sys.stdin.isatty():
        return None
    parts = [_read_stdin() if word == "-" else word for word in words or ["-"]]
    question = " ".join(parts).strip()
    if not question:
        raise Failure('there is nothing to ask; try: dragoman chat "Hello"', exit_code=2)
    return question


def _read_stdin() -> str:
    text = sys.stdin.read(MAX_INPUT_CHARS + 1)
    if len(text) > MAX_INPUT_CHARS:
        raise Failure(f"stdin is longer than {MAX_INPUT_CHARS} characters", exit_code=2)
    return text


def _first(models: list[str]) -> str:
    if not models:
        raise Failure("the server offers no model")
    return models[0]


# --- The key ------------------------------------------------------------------------------------


@contextmanager
def _secret(settings: Config, url: str, given: str | None) -> Iterator[str]:
    if given:
        yield given
        return
    from dragoman.cli.administering import administration_over
    from dragoman.policy.administration import KeyWish

    if not _is_this_machine(url, settings):
        raise Failure(
            "a server on another machine needs a key: give --key or set $DRAGOMAN_API_KEY",
            exit_code=2,
        )
    with opened_store(settings) as store:
        keys = administration_over(store, settings).keys
        made = keys.create(KeyWish(name=f"{SESSION_KEY_NAME} (process {os.getpid()})"))
        try:
            yield made.secret
        finally:
            keys.revoke(made.key.id)


def _is_this_machine(url: str, settings: Config) -> bool:
    with suppress(ValueError):
        return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost", settings.host}
    return False


class _Ending:
    """Turns SIGTERM and a closed terminal into Ctrl-C, so that the key is revoked on the way out.

    An exception out of a handler could surface anywhere in the event loop; for SIGINT the runner
    cancels its task instead.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """What ends the program, where it is not the person at the terminal."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        # Whoever starts this program may have them blocked, which a program inherits.
        ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)

    def _end(self, number: int, _frame: object) -> None:
        self.signal = number
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _signals_seen() -> Iterator[None]:
    """Have a signal that arrives just before input() sleeps handled all the same.

    Python handles signals between instructions, and the prompt sleeps in C: what comes after its last
    look and before its sleep would wait for the next key. A timer's beat wakes it to look again.
    """
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    signal.setitimer(signal.ITIMER_REAL, PROMPT_BEAT_S, PROMPT_BEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- Talking ------------------------------------------------------------------------------------


async def _answer(conversation: Conversation, question: str) -> None:
    """Show the answer to `question` as it comes. Raises `ServerSaidNo`."""
    is_terminal = sys.stdout.isatty()
    wrote = ""
    waiting = err().status("…")
    waiting.start()  # shows only on a terminal
    try:
        async with aclosing(conversation.ask(question)) as pieces:
            async for piece in pieces:
                waiting.stop()
                wrote = piece.translate(_CONTROLS) if is_terminal else piece
                sys.stdout.write(wrote)
                sys.stdout.flush()
    finally:
        waiting.stop()
        if wrote and not wrote.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()
    if conversation.finish_reason == "length":
        typer.secho("(the answer reached the longest that was allowed)", dim=True, err=True)


def _converse(runner: asyncio.Runner, conversation: Conversation, ending: _Ending) -> None:
    from dragoman.cli.conversation import ServerSaidNo

    with suppress(ImportError):
        # Importing it gives input() its line editing and history.
        import readline  # noqa: F401
    typer.secho(f"{conversation.model} at {conversation.url}. /help lists commands.", dim=True)
    while True:
        try:
            with _signals_seen():
                line = input("> ").strip()
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            if ending.signal is not None:
                raise
            typer.secho("\n(/quit or Ctrl-D ends)", dim=True)
            continue
        try:
            if line.startswith("//"):
                runner.run(_answer(conversation, line[1:]))
            elif line.startswith("/"):
                if not _obey(runner, conversation, line):
                    return
            elif line:
                runner.run(_answer(conversation, line[:MAX_INPUT_CHARS]))
        except ServerSaidNo as error:
            typer.secho(f"error: {error}", fg="red", err=True)
        except KeyboardInterrupt:
            if ending.signal is not None:
                raise
            typer.secho("(stopped)", dim=True)


def _obey(runner: asyncio.Runner, conversation: Conversation, line: str) -> bool:
    """Do what the command `line` says; whether the conversation goes on. Raises `ServerSaidNo`."""
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    if name in {"/quit", "/exit", "/q"}:
        return False
    commands: dict[str, Callable[[], None]] = {
        "/help": lambda: typer.echo(HELP),
        "/model": lambda: _change_model(runner, conversation, rest),
        "/models": lambda: typer.echo("\n".join(runner.run(conversation.list_models()))),
        "/system": lambda: _change_system(conversation, rest),
        "/clear": lambda: _clear(conversation),
    }
    command = commands.get(name)
    if command is None:
        typer.secho(f"{name} is no command; /help lists them", fg="red", err=True)
    else:
        command()
    return True


def _change_model(runner: asyncio.Runner, conversation: Conversation, name: str) -> None:
    if name:
        runner.run(conversation.require_model(name))
        conversation.model = name
    typer.secho(f"{conversation.model} answers", dim=True)


def _change_system(conversation: Conversation, text: str) -> None:
    conversation.system = text or None
    typer.secho("system message set" if text else "system message removed", dim=True)


def _clear(conversation: Conversation) -> None:
    conversation.turns.clear()
    typer.secho("forgotten", dim=True)
