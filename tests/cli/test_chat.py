"""`dragoman chat` with a real server, and a provider that a script answers for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Ran, Run
from tests.cli.terminal import Terminal
from tests.conftest import Served
from tests.scripted_provider import Gate, Script, ScriptedProvider


@pytest.fixture
def environment(environment: dict[str, str], gateway: Served) -> dict[str, str]:
    """As on the machine where the server runs: its settings, its data directory, no key."""
    folder = gateway.log_path.parent
    return environment | {
        "DRAGOMAN_CONFIG": str(folder / "dragoman.toml"),
        "DRAGOMAN_DATA_DIR": str(folder),
        "DRAGOMAN_PORT": "0",
    }


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path, gateway: Served) -> Iterator[Terminal]:
    """A conversation that has begun."""
    arguments = ["chat", "--url", gateway.url, "--key", gateway.key, "--model", "gpt"]
    with Terminal(arguments, environment, tmp_path) as terminal:
        assert "gpt at http://" in terminal.read_until("> ")
        yield terminal


def asked(provider: ScriptedProvider) -> list[tuple[str, str]]:
    """The messages of the last request."""
    messages = provider.requests[-1].body["messages"]
    return [(message["role"], message["content"]) for message in messages]


# --- One question -------------------------------------------------------------------------------


def test_a_question_is_answered_on_stdout_with_no_setup(
    shell: Run, provider: ScriptedProvider
) -> None:
    provider.enqueue(Script(deltas=("Paris", " it is.")))
    ran = shell("chat", "The capital", "of France?")
    assert ran == Ran(0, "Paris it is.\n", "")
    assert provider.requests[-1].body["model"] == "gpt"
    assert asked(provider) == [("user", "The capital of France?")]


def test_the_key_that_it_makes_for_itself_is_revoked_at_the_end(
    shell: Run, provider: ScriptedProvider
) -> None:
    assert shell("chat", "hello").code == 0
    listed = shell("keys", "list", "--all", "--json").json
    own = [key for key in listed if key["name"].startswith("dragoman chat")]
    assert own
    assert all("revoked" in key for key in own)
    told = [
        event for event in shell("audit", "list", "--json").json if event["subject"] == own[0]["id"]
    ]
    assert [event["action"] for event in told] == ["key.revoke", "key.create"]


def test_stdin_is_the_question_or_a_part_of_it(shell: Run, provider: ScriptedProvider) -> None:
    shell("chat", stdin="From a pipe\n")
    assert asked(provider) == [("user", "From a pipe")]
    shell("chat", "Sum up:", "-", stdin="a long text")
    assert asked(provider) == [("user", "Sum up: a long text")]


def test_model_and_system_message_can_be_chosen(shell: Run, provider: ScriptedProvider) -> None:
    shell("chat", "-m", "gpt-text-only", "-s", "Be brief.", "hello")
    assert provider.requests[-1].body["model"] == "gpt-text-only"
    assert asked(provider) == [("system", "Be brief."), ("user", "hello")]


def test_nothing_to_ask_ends_with_2(shell: Run, gateway: Served) -> None:
    ran = shell("chat", stdin="")
    assert ran.code == 2
    assert 'there is nothing to ask; try: dragoman chat "Hello"' in ran.err


def test_an_unknown_model_fails_in_the_servers_words(shell: Run, gateway: Served) -> None:
    ran = shell("chat", "-m", "nothing", "hello")
    assert (ran.code, ran.out) == (1, "")
    assert "error: the server answered 400: " in ran.err
    assert "nothing" in ran.err


def test_a_failed_answer_fails(shell: Run, provider: ScriptedProvider) -> None:
    provider.enqueue(Script(status=500, body=b"{}"))
    ran = shell("chat", "hello")
    assert (ran.code, ran.out) == (1, "")
    assert "the server answered 50" in ran.err


def test_an_answer_that_is_cut_off_fails_and_keeps_what_came(
    shell: Run, provider: ScriptedProvider
) -> None:
    provider.enqueue(Script(deltas=("Once", " upon", " a time"), cut_after_frames=3))
    ran = shell("chat", "Tell a story")
    assert ran.code == 1
    assert ran.out.startswith("Once")
    assert ran.err.startswith("error: ")


def test_an_answer_at_its_limit_says_so_on_stderr(shell: Run, provider: ScriptedProvider) -> None:
    provider.enqueue(Script(text="Once upon", finish="length"))
    ran = shell("chat", "Tell a story")
    assert (ran.code, ran.out) == (0, "Once upon\n")
    assert "reached the longest that was allowed" in ran.err


def test_a_wrong_key_is_told_with_its_remedy_and_not_repeated(shell: Run, gateway: Served) -> None:
    ran = shell("chat", "hello", env={"DRAGOMAN_API_KEY": "a-wrong-key-0123456789"})
    assert ran.code == 1
    assert "401" in ran.err
    assert "Name a key with --key or $DRAGOMAN_API_KEY" in ran.err
    assert "a-wrong-key" not in ran.err


def test_a_server_that_is_not_there_is_told_with_its_remedy(shell: Run, gateway: Served) -> None:
    ran = shell("chat", "hello", env={"DRAGOMAN_URL": "http://127.0.0.1:9"})
    assert ran.code == 1
    assert "http://127.0.0.1:9 cannot be reached" in ran.err
    assert "Start a server with `dragoman serve`" in ran.err


def test_no_key_of_ours_goes_to_another_machine(shell: Run, gateway: Served) -> None:
    before = shell("keys", "list", "--all", "--json").json
    ran = shell("chat", "hello", "--url", "http://192.0.2.1:8000")
    assert ran.code == 2
    assert "a server on another machine needs a key" in ran.err
    assert shell("keys", "list", "--all", "--json").json == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_cleanly_in_mid_answer(
    shell: Run,
    provider: ScriptedProvider,
    environment: dict[str, str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    gate = Gate()
    provider.enqueue(Script(deltas=("Once", " upon"), frame_gate=gate, frames_before_gate=2))
    process = subprocess.Popen(
        [sys.executable, "-m", "dragoman", "chat", "Tell a story"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == "Once"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    gate.open()
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert all("revoked" in key for key in shell("keys", "list", "--all", "--json").json[1:])


# --- A conversation -----------------------------------------------------------------------------


def test_a_conversation_remembers(terminal: Terminal, provider: ScriptedProvider) -> None:
    provider.enqueue(Script(text="Hello Ada."), Script(text="Ada."))
    terminal.enter("I am Ada.\n")
    terminal.read_until("Hello Ada.")
    terminal.read_until("> ")
    terminal.enter("Who am I?\n")
    terminal.read_until("Ada.")
    terminal.read_until("> ")
    assert asked(provider) == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
    ]
    terminal.enter("/clear\n")
    terminal.read_until("forgotten")
    terminal.enter("Who am I?\n")
    provider.wait_until(lambda: len(provider.requests) == 3)
    assert asked(provider) == [("user", "Who am I?")]


def test_commands_change_model_and_system_message(
    terminal: Terminal, provider: ScriptedProvider
) -> None:
    terminal.enter("/models\n")
    assert "claude" in terminal.read_until("nowhere-backed")
    terminal.enter("/model nothing-like-it\n")
    terminal.read_until("error: the server answered 40")
    terminal.enter("/model gpt-text-only\n")
    terminal.read_until("gpt-text-only answers")
    terminal.enter("/system Be brief.\n")
    terminal.read_until("system message set")
    terminal.enter("//slash\n")
    provider.wait_until(lambda: len(provider.requests) == 1)
    assert provider.requests[-1].body["model"] == "gpt-text-only"
    assert asked(provider) == [("system", "Be brief."), ("user", "/slash")]


def test_help_lists_the_commands_and_mistakes_are_told(
    terminal: Terminal, provider: ScriptedProvider
) -> None:
    terminal.enter("/help\n")
    shown = terminal.read_until("Anything else is sent")
    for command in ("/model", "/models", "/system", "/clear", "/quit"):
        assert command in shown
    terminal.enter("/hepl\n")
    terminal.read_until("/hepl is no command; /help lists them")
    assert provider.requests == []


@pytest.mark.parametrize("ending", ["/quit\n", "\x04"])
def test_quit_and_end_of_input_end_it_with_0(terminal: Terminal, ending: str) -> None:
    terminal.enter(ending)
    assert terminal.process.wait(30) == 0


def test_ctrl_c_stops_the_answer_and_not_the_conversation(
    terminal: Terminal, provider: ScriptedProvider
) -> None:
    gate = Gate()
    provider.enqueue(
        Script(deltas=("Once", " upon"), frame_gate=gate, frames_before_gate=2), Script(text="Fin.")
    )
    terminal.enter("Tell a story\n")
    terminal.read_until("Once")
    terminal.enter("\x03")
    terminal.read_until("(stopped)")
    provider.wait_until(lambda: provider.requests[0].is_disconnected)
    terminal.read_until("> ")
    terminal.enter("End it\n")
    terminal.read_until("Fin.")
    gate.open()
    assert asked(provider) == [
        ("user", "Tell a story"),
        ("assistant", "Once"),
        ("user", "End it"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_ends_it(terminal: Terminal, number: signal.Signals) -> None:
    terminal.enter("half a li")
    terminal.read_until("half a li")
    terminal.process.send_signal(number)
    assert terminal.process.wait(30) == 128 + number


def test_ctrl_c_at_the_prompt_does_not_end_it(terminal: Terminal) -> None:
    terminal.enter("half a li")
    terminal.read_until("half a li")
    terminal.enter("\x03")
    terminal.read_until("(/quit or Ctrl-D ends)")
    terminal.read_until("> ")
    terminal.enter("/quit\n")
    assert terminal.process.wait(30) == 0


def test_an_error_does_not_end_the_conversation(
    terminal: Terminal, provider: ScriptedProvider
) -> None:
    provider.enqueue(Script(status=400, body=json.dumps({"error": {"message": "no"}}).encode()))
    terminal.enter("First\n")
    terminal.read_until("error: the server answered")
    terminal.read_until("> ")
    terminal.enter("Second\n")
    provider.wait_until(lambda: len(provider.requests) == 2)
    assert asked(provider) == [("user", "Second")]


def test_a_model_cannot_write_to_the_terminal_itself(
    terminal: Terminal, provider: ScriptedProvider
) -> None:
    provider.enqueue(Script(text="a\x1b]0;owned\x07b\x1b[2Jc\x9b1md\ttab"))
    terminal.enter("hello\n")
    shown = terminal.read_until("\ttab")
    assert shown.endswith("a]0;ownedb[2Jc1md\ttab")
