"""The documents keep to what is there: links, commands, variables, fields, addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import typer.main
from tests.conftest import REPOSITORY
from tests.docs.fences import DOCUMENTS, fences, prose, read

from dragoman import errors
from dragoman.app.serving import DIALECTS
from dragoman.chat import MAX_LABEL_CHARS, MAX_LABELS
from dragoman.cli.main import app
from dragoman.config.settings import Settings
from dragoman.dialects import dreamsolve, studio
from dragoman.dialects.anthropic import CountTokensRequest
from dragoman.engine import guard
from dragoman.ports import Dialect
from dragoman.providers.catalog import CATALOG

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ADDRESS = re.compile(r"(https?)://([^\s/\"'`)<>|]+)")

# Variables with our prefix that are no settings.
OTHER_VARIABLES = frozenset(
    {"DRAGOMAN_CONFIG", "DRAGOMAN_BOOTSTRAP_KEY", "DRAGOMAN_URL", "DRAGOMAN_API_KEY"}
)
HOSTS = frozenset(
    {
        "10.0.0.5:8000",
        "app.example.com",
        "arxiv.org",
        "crm.example.com",
        "github.com",
        "keepachangelog.com",
        "platform.claude.com",
        "semver.org",
        "tools.example.com",
    }
)
"""Whom the documents may point at, beside this machine and the catalog's providers."""


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    kept = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"\s", "-", kept)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (REPOSITORY / document).parent
    for target in _LINK.findall(prose(document)):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        linked = (folder / path).resolve() if path else REPOSITORY / document
        assert linked.exists(), f"{document} links to {target}"
        assert linked.is_relative_to(REPOSITORY), f"{document} links to {target}"
        if fragment:
            headings = {anchor(heading) for heading in _HEADING.findall(linked.read_text())}
            assert fragment in headings, f"{document} links to {target}"


def test_readme_links_every_document() -> None:
    linked = set(_LINK.findall(read("README.md")))
    assert {name for name in DOCUMENTS if name != "README.md"} <= linked


def commands_of(command: Any) -> set[str]:
    """`serve`, `keys`, `keys create`, …; `command` is Typer's, whose base is not public."""
    found: set[str] = set()
    for name, inner in getattr(command, "commands", {}).items():
        found.add(name)
        found |= {f"{name} {rest}" for rest in commands_of(inner)}
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    known = commands_of(typer.main.get_command(app))
    groups = {name.partition(" ")[0] for name in known if " " in name}
    for name, second in re.findall(
        r"(?:`|\$ |^)dragoman ([a-z]+)(?: ([a-z]+))?", read(document), re.M
    ):
        assert name in known, f"{document}: dragoman {name}"
        if second and name in groups:
            assert f"{name} {second}" in known, f"{document}: dragoman {name} {second}"


def test_readme_names_every_command() -> None:
    top = {name for name in commands_of(typer.main.get_command(app)) if " " not in name}
    shown = "\n".join(fence.text for fence in fences("console"))
    assert "serve" in top
    assert {name for name in top if f"$ dragoman {name}" not in shown} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_variables_exist(document: str) -> None:
    settings = {f"DRAGOMAN_{name.upper()}" for name in Settings.__struct_fields__}
    for variable in re.findall(r"DRAGOMAN_[A-Z_]+", read(document)):
        assert variable in settings | OTHER_VARIABLES, f"{document}: {variable}"


def test_other_variables_are_read_somewhere() -> None:
    source = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("*.py"))
    for variable in OTHER_VARIABLES:
        assert f'"{variable}"' in source, variable


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)[` ]", read(document)):
            assert target in targets, f"{document}: make {target}"


def test_named_kinds_are_in_the_catalog() -> None:
    sentence = re.search(r"catalog\.py\): (.+?) and others", read("README.md"), re.DOTALL)
    assert sentence is not None
    for kind in re.split(r",\s+", sentence[1]):
        assert kind in CATALOG, kind


# --- Dialects -----------------------------------------------------------------------------------


def section(dialect: str) -> str:
    """What `docs/dialects.md` says of one dialect."""
    match = re.search(
        rf"^## `{dialect}`\n(.*?)(?=^## )", read("docs/dialects.md"), re.MULTILINE | re.DOTALL
    )
    assert match is not None, f"docs/dialects.md has no section for {dialect}"
    return match[1]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_field_is_documented(dialect: Dialect) -> None:
    text = section(dialect.name)
    missing = [
        field.encode_name
        for type_ in (dialect.wire.request, CountTokensRequest)
        if type_ is dialect.wire.request or dialect.name == "anthropic"
        for field in msgspec.structs.fields(type_)
        if not re.search(rf"`{field.encode_name}[`.:]", text)
    ]
    assert missing == []


def test_stated_defaults_hold() -> None:
    text = read("docs/dialects.md")
    defaults = Settings()
    assert f"`max_choices` ({defaults.max_choices})" in text
    assert f"`header_hold_s` ({defaults.header_hold_s:g} s)" in text
    assert f"`max_body_bytes` ({defaults.max_body_bytes // 2**20} MiB)" in text
    assert f"1..{dreamsolve.MAX_MAX_TOKENS}, default {dreamsolve.DEFAULT_MAX_TOKENS}" in text
    assert f"up to {studio.MAX_STOPS} strings" in text
    assert f"up to {MAX_LABELS} of {MAX_LABEL_CHARS} characters" in text
    assert f"{guard.MAX_STOPS} stop strings of {guard.MAX_STOP_CHARS} characters" in text
    assert f"{guard.MAX_LOGIT_BIAS} entries of `logit_bias`" in text


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_path_is_documented(dialect: Dialect) -> None:
    assert f"`POST {dialect.wire.path}`" in section(dialect.name)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthenticated(),
        errors.InsufficientCredits(),
        errors.InvalidRequest("x"),
        errors.MethodNotAllowed(),
        errors.BodyTooLarge(),
        errors.RateLimited(),
        errors.ProviderRefusedUs(),
        errors.Overloaded(),
        errors.ProviderTimeout(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_tables_have_the_status_and_its_words(
    dialect: Dialect, error: errors.DragomanError
) -> None:
    status = str(dialect.error_status(error))
    rows = [
        row
        for row in section(dialect.name).splitlines()
        if row.startswith("|") and status in row.split("|")[1].replace(",", " ").split()
    ]
    assert rows, f"{dialect.name} has no row for {status}"
    told = msgspec.json.decode(dialect.encode_error(error, "req_1"))["error"]
    match dialect.name:
        case "openai":
            words = told["type"]
        case "studio":
            words = told["code"]
        case "anthropic":
            words = told["type"]
        case "dreamsolve":
            words = told if int(status) in (401, 402, 429, 500) else "what is wrong"
    assert any(words in row for row in rows), f"{dialect.name} {status}: {words}"


# --- Architecture -------------------------------------------------------------------------------


def test_architecture_shows_every_part() -> None:
    package = REPOSITORY / "src" / "dragoman"
    parts = {path.name + "/" for path in package.iterdir() if (path / "__init__.py").exists()}
    parts |= {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    tree = next(f.text for f in fences("") if f.text.startswith("src/dragoman/"))
    shown = {word.rstrip(",") for line in tree.splitlines()[1:] for word in line.split()[:2]}
    assert parts - shown == set()


def test_architecture_states_the_import_contract() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    stated = next(f.text for f in fences("") if f.text.startswith("cli > app"))
    assert " ".join(stated.split()) == " > ".join(layers).replace("dragoman.", "")


def test_changelog_keeps_its_form() -> None:
    text = read("CHANGELOG.md")
    assert "\n## [Unreleased]\n" in text
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


# --- What must not be there ---------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_addresses_are_meant(document: str) -> None:
    providers = {urlsplit(row.base_url).netloc for row in CATALOG.values()}
    for scheme, found in _ADDRESS.findall(read(document)):
        host = found.rstrip(".,:;")
        is_here = host.partition(":")[0] == "127.0.0.1"
        assert is_here or host in HOSTS | providers, f"{document}: {host}"
        assert scheme == "https" or host[0].isdigit(), f"{document}: {host} without encryption"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_of_this_machine_or_of_work_in_progress(document: str) -> None:
    text = read(document)
    for place in (str(REPOSITORY), str(Path.home())):
        assert place == "/" or place not in text, f"{document}: {place}"
    for word in (r"\bTODO\b", r"\bFIXME\b", r"(?i)coming soon", r"(?i)\bissue #?\d", r" #\d+\b"):
        assert not re.search(word, text), f"{document}: {word}"
