"""What holds for every command: help that teaches, exit codes, quick starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from dragoman import __version__
from dragoman.cli.areas import AREAS
from dragoman.stores import open_store

COMMANDS = [
    (),
    ("serve",),
    ("chat",),
    ("doctor",),
    ("models",),
    ("models", "list"),
    ("models", "show"),
    ("models", "install"),
    ("keys",),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("keys", "show"),
    ("keys", "change"),
    ("keys", "rotate"),
    ("accounts",),
    ("accounts", "list"),
    ("accounts", "show"),
    ("accounts", "create"),
    ("accounts", "change"),
    ("accounts", "suspend"),
    ("accounts", "resume"),
    ("accounts", "members"),
    ("accounts", "members", "list"),
    ("accounts", "members", "add"),
    ("accounts", "members", "remove"),
    ("plans",),
    ("plans", "list"),
    ("plans", "set"),
    ("plans", "delete"),
    ("credits",),
    ("credits", "show"),
    ("credits", "top-up"),
    ("credits", "refund"),
    ("credits", "adjust"),
    ("prices",),
    ("prices", "list"),
    ("prices", "set"),
    ("usage",),
    ("usage", "list"),
    ("usage", "show"),
    ("usage", "groups"),
    ("usage", "export"),
    ("projects",),
    ("projects", "list"),
    ("projects", "show"),
    ("projects", "create"),
    ("projects", "change"),
    ("projects", "archive"),
    ("projects", "restore"),
    ("projects", "attach"),
    ("projects", "detach"),
    ("projects", "rights"),
    ("templates",),
    ("templates", "list"),
    ("templates", "show"),
    ("templates", "add"),
    ("templates", "activate"),
    ("templates", "rollback"),
    ("templates", "preview"),
    ("templates", "delete"),
    ("metrics",),
    ("metrics", "list"),
    ("metrics", "add"),
    ("metrics", "change"),
    ("metrics", "delete"),
    ("campaigns",),
    ("campaigns", "list"),
    ("campaigns", "create"),
    ("campaigns", "show"),
    ("campaigns", "report"),
    ("campaigns", "change"),
    ("campaigns", "cancel"),
    ("interactions",),
    ("interactions", "list"),
    ("interactions", "show"),
    ("interactions", "export"),
    ("interactions", "import"),
    ("interactions", "delete"),
    ("interactions", "erase-user"),
    ("tools",),
    ("tools", "list"),
    ("tools", "show"),
    ("tools", "add"),
    ("tools", "remove"),
    ("tools", "disable"),
    ("tools", "enable"),
    ("tools", "test"),
    ("ledger",),
    ("ledger", "list"),
    ("ledger", "verify"),
    ("audit",),
    ("audit", "list"),
    ("config",),
    ("config", "show"),
    ("config", "diff"),
    ("config", "apply"),
    ("config", "release"),
    ("config", "schema"),
    ("config", "docs"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_teaches_by_an_example_and_describes_every_option(
    dragoman: Run, command: tuple[str, ...]
) -> None:
    ran = dragoman(*command, "--help")
    assert ran.code == 0
    assert "Usage: dragoman" in ran.out
    example = re.search(r"(?:Examples?|Begin with): (.*dragoman \w+)", ran.out)
    assert example is not None
    assert ran.err == ""
    # Every one has --help at least.
    options = re.findall(r"^│\s+\*?\s*(--[\w-]+.*)│$", ran.out, re.MULTILINE)
    assert options
    for option in options:
        text = re.sub(r"--[\w-]+|<\w+>|\b[A-Z]+\b|-\w", "", option)
        assert re.search(r"[a-z]{3}", text), option


@pytest.mark.parametrize("area", AREAS)
def test_an_area_says_of_itself_what_is_said_of_it(dragoman: Run, area: str) -> None:
    words = AREAS[area].split()
    assert " ".join(words) in " ".join(dragoman(area, "--help").out.split())
    assert words[0] in dragoman("--help").out


def test_version_is_told(dragoman: Run) -> None:
    ran = dragoman("--version")
    assert (ran.code, ran.out) == (0, f"dragoman {__version__}\n")


@pytest.mark.parametrize("arguments", [("nonsense",), ("keys", "create"), ("serve", "--nonsense")])
def test_wrong_usage_ends_with_2_and_says_why(dragoman: Run, arguments: tuple[str, ...]) -> None:
    ran = dragoman(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert "dragoman" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "command", [("serve",), ("keys", "list"), ("models", "list"), ("config", "show"), ("chat", "x")]
)
def test_a_bad_setting_ends_with_2_and_names_itself(
    dragoman: Run, command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("prot = 1")
    ran = dragoman(*command, "--config", str(tmp_path / "bad.toml"))
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err == (f"error: {tmp_path}/bad.toml: prot is not a setting; did you mean port?\n")


def test_a_bad_database_ends_with_1_and_names_itself(dragoman: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "dragoman.db").write_bytes(b"x" * 4096)
    ran = dragoman("keys", "list")
    assert ran.code == 1
    assert f"{data_dir}/dragoman.db is not a sound database" in ran.err


def test_completion_can_be_had(shell: Run) -> None:
    ran = shell(
        env={
            "_DRAGOMAN_COMPLETE": "complete_bash",
            "COMP_WORDS": "dragoman ke",
            "COMP_CWORD": "1",
        }
    )
    assert ran.out.split() == ["keys"]


def cpu_seconds(code: str) -> float:
    """The best of three: how much CPU time a new interpreter spends on `code`, beyond its start.

    Other tests run at the same time, so the clock on the wall would measure them.
    """

    def spend(code: str) -> float:
        measure = f"{code}\nimport sys, time\nsys.stderr.write(str(time.process_time()))"
        done = subprocess.run(
            [sys.executable, "-c", measure], capture_output=True, text=True, check=True
        )
        return float(done.stderr)

    return min(spend(code) for _ in range(3)) - min(spend("") for _ in range(3))


def test_importing_the_package_is_instant() -> None:
    assert cpu_seconds("import dragoman") < 0.1


def test_the_tree_of_commands_is_quick_to_import() -> None:
    assert cpu_seconds("import dragoman.cli.main") < 0.3


def test_help_is_shown_quickly() -> None:
    show_help = """
import sys
from dragoman.__main__ import main
sys.argv = ["dragoman", "--help"]
try:
    main()
except SystemExit as ended:
    assert not ended.code
"""
    assert cpu_seconds(show_help) < 0.5


def test_help_loads_neither_the_server_nor_the_database() -> None:
    code = (
        "import sys; import dragoman.cli.main;"
        "heavy = {'asyncio', 'uvicorn', 'sqlalchemy', 'alembic', 'numpy', 'xllamacpp', 'sqlite3',"
        " 'mcp', 're2'};"
        "found = heavy & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "laptop"),
        ("accounts", "list"),
        ("credits", "top-up", "default", "1"),
        ("projects", "create", "support", "--model", "local"),
        ("config", "apply"),
        ("tools", "list"),
        ("interactions", "list"),
        ("campaigns", "list"),
        ("ledger", "verify"),
    ],
    ids=" ".join,
)
def test_administration_loads_nothing_that_is_slow(
    arguments: tuple[str, ...], environment: dict[str, str], tmp_path: Path, data_dir: Path
) -> None:
    open_store(data_dir).close()
    code = (
        "import sys; from dragoman.__main__ import main\n"
        f"sys.argv = ['dragoman', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'uvicorn', 'uvloop', 'sqlalchemy', 'alembic', 'litestar', 'numpy',"
        " 'xllamacpp', 'genai_prices', 'mcp', 're2', 'scipy'}\n"
        "found = heavy & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
