"""Projects and tool servers in the settings file: what comes of them, and what is said of those that cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dragoman.app.worker import Orders, decode_orders, encode_orders
from dragoman.config import Config, ConfigError, load_config

Load = Callable[[str], Config]
SECRET = "sk-a-secret-that-must-not-be-shown"

PROJECT = "[[projects]]\nkey = 'support'\n"
MODEL = "[[projects.models]]\nmodel = 'local'\n"
TEMPLATE = "[[projects.templates]]\nkey = 'greeting'\n"
METRIC = "[[projects.metrics]]\nkey = 'helpful'\nkind = 'bool'\n"
TOOLS = "[[projects.models.tools]]\n"
SERVER = "[[tool_servers]]\nkey = 'orders'\nkind = 'http'\nurl = 'https://tools.example.com'\n"
TOOL = "[[tool_servers.tools]]\nname = 'find'\n"
STDIO = "[[tool_servers]]\nkey = 'files'\nkind = 'mcp_stdio'\n"
COMMAND = "command = ['serve-files', '/srv']\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> Config:
        path = tmp_path / "dragoman.toml"
        path.write_text(text)
        return load_config(path, {}, {})

    return load


WHOLE = f"""
{PROJECT}
name = "Support"
account_id = "acct_acme"
default_model = "quick"
public = {{ requests_per_minute = 10 }}
content = {{ keep_days = 30, redact = [{{ kind = "email" }}] }}
rights = [{{ member = "ann@example.com", right = "edit" }}]

[[projects.models]]
key = "quick"
model = "local"
max_ttft_ms = 500
template = "greeting"
sampling = {{ temperature = 0.25, top_k = 4 }}
tools = [{{ id = "orders/find", enabled = false }}, {{ id = "files" }}]
tool_bounds = {{ rounds = 3 }}

{TEMPLATE}
text_file = "prompts/greeting.txt"
arguments = [{{ name = "tone", default = {{ warmth = 0.5, words = ["kind"] }} }}]

{METRIC}
{SERVER}
headers = {{ authorization = "file:token" }}
{TOOL}
parameters = {{ type = "object", properties = {{ n = {{ type = "number", minimum = 0.5 }} }} }}
{STDIO}
{COMMAND}
environment = {{ API_KEY = "env:FILES_KEY", LANG = "C" }}
"""


def test_a_whole_project_is_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "greeting.txt").write_text("Be {{tone}}.\n")
    config = load(WHOLE)
    (project,) = config.projects
    assert (project.key, project.name, project.account_id) == ("support", "Support", "acct_acme")
    (model,) = project.models
    assert (model.key, model.model, model.template, model.max_ttft_ms) == (
        *("quick", "local", "greeting"),
        500,
    )
    assert (model.sampling.temperature, model.sampling.top_k) == (0.25, 4)
    assert [(tool.id, tool.enabled) for tool in model.tools] == [
        ("orders/find", False),
        ("files", True),
    ]
    assert (model.tool_bounds.rounds, model.tool_bounds.call_s) == (3, 20.0)
    assert project.public is not None
    assert project.public.requests_per_minute == 10
    (template,) = project.templates
    assert template.text == "Be {{tone}}."
    assert template.arguments[0].default == {"warmth": 0.5, "words": ["kind"]}
    orders, files = config.tool_servers
    assert orders.headers == {"authorization": f"file:{tmp_path}/token"}
    assert orders.tools[0].parameters["properties"]["n"]["minimum"] == 0.5
    assert files.environment == {"API_KEY": "env:FILES_KEY", "LANG": "C"}
    # What JSON cannot say would only be found out when it is applied.
    assert msgspec.json.decode(msgspec.json.encode(project), type=type(project)) == project
    assert dict(config.origins)["projects"] == str(tmp_path / "dragoman.toml")


def test_workers_are_told_of_projects(load: Load, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "greeting.txt").write_text("Be {{tone}}.")
    orders = Orders(index=0, connections_fd=3, engine_fd=None, config=load(WHOLE))
    assert decode_orders(encode_orders(orders)).config == orders.config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[projects]\nkey = 'a'", "projects must be a list of tables; write [[projects]]"),
        ("[[projects]]\nname = 'x'", "projects[0].key is missing; add it"),
        ("[[projects]]\nkey = 'Support'", "projects[0].key is 'Support'; use up to 64 lower-case letters"),
        (PROJECT + "modles = []", "projects[0].modles is not a setting; did you mean models?"),
        (PROJECT + PROJECT, "projects[1].key is 'support', which projects[0].key is already"),
        ("[[projects]]\nkey = 'local'", "projects[0].key is 'local', which local_models[0].aliases[0] is already"),
        (PROJECT + "[[projects.models]]\nmodel = 'locl'", "projects[0].models[0].model is 'locl', which is no model; did you mean local?"),
        (PROJECT + MODEL + MODEL, "projects[0].models[1].model is 'local', which projects[0].models[0].model is already"),
        (PROJECT + "[[projects.models]]\nmodel = 'support/a'\nkey = 'a'\n[[local_models]]\nid = 'support/a'", "projects[0].models[0]: requests that name 'support/a' would mean local_models[0].id; give it another key"),
        (PROJECT + MODEL + "sampling = { temprature = 1 }", "projects[0].models[0].sampling.temprature is not a setting; did you mean temperature?"),
        (PROJECT + MODEL + "sampling = { temperature = 3.0 }", "projects[0].models[0].sampling.temperature is 3.0; use a number from 0 to 2"),
        (PROJECT + MODEL + "template = 'greting'\n" + TEMPLATE + "text = 'x'", "projects[0].models[0].template is 'greting', which is no template of the project; did you mean greeting?"),
        (PROJECT + "default_model = 'x'\n" + MODEL, "projects[0].default_model is 'x', which is no model of the project; use one of local"),
        (PROJECT + MODEL + TOOLS + "id = 'ordrs'\n" + SERVER + TOOL, "projects[0].models[0].tools[0].id is 'ordrs', and there is no tool server 'ordrs' in the file; did you mean orders?"),
        (PROJECT + MODEL + TOOLS + "id = 'orders/fnd'\n" + SERVER + TOOL, "projects[0].models[0].tools[0].id is 'orders/fnd', which is no tool of orders"),
        (PROJECT + MODEL + TOOLS + "id = 'orders'\n" + TOOLS + "id = 'orders'\n" + SERVER + TOOL, "projects[0].models[0].tools[1].id is 'orders', which projects[0].models[0].tools[0].id is already"),
        (PROJECT + TEMPLATE, "projects[0].templates[0].text is missing; add it, or text_file"),
        (PROJECT + TEMPLATE + "text = 'a'\ntext_file = 'b'", "projects[0].templates[0] has text and text_file; remove one"),
        (PROJECT + TEMPLATE + "text_file = 'gone.txt'", "gone.txt cannot be read: No such file"),
        (PROJECT + TEMPLATE + "text_file = 'empty.txt'", "empty.txt must have 1 to 65536 characters"),
        (PROJECT + TEMPLATE + "text_file = 'binary'", "binary is not text in UTF-8"),
        (PROJECT + TEMPLATE + "text_file = 'long.txt'", "long.txt must have 1 to 65536 characters"),
        (PROJECT + TEMPLATE + "text = 'a'\narguments = [{ name = 'b' }]", "projects[0].templates[0].arguments[0].name 'b' is no argument of the text"),
        (PROJECT + TEMPLATE + "text = '{{b}}'\narguments = [{ name = 'b', default = 2026-01-01 }]", "arguments[0].default is a day or time; write it as text"),
        (PROJECT + TEMPLATE + "text = '{{b}}'\narguments = [{ name = 'b', default = [nan] }]", "arguments[0].default[0] is NaN, which JSON cannot say"),
        (PROJECT + METRIC + METRIC, "projects[0].metrics[1].key is 'helpful', which projects[0].metrics[0].key is already"),
        (PROJECT + METRIC.replace("helpful", "cost"), "projects[0].metrics[0].key is 'cost', which is measured of every completion"),
        (PROJECT + METRIC.replace("bool", "boolean"), 'projects[0].metrics[0].kind is \'boolean\'; use one of "bool", "scalar"'),
        (PROJECT + "rights = [{ member = 'a@b', right = 'view' }, { member = 'A@B', right = 'edit' }]", "projects[0].rights[1].member is 'a@b', which projects[0].rights[0].member is already"),
        (PROJECT + "rights = [" + "{ member = 'a', right = 'view' }," * 257 + "]", "projects[0].rights has 257 tables; use up to 256"),
        (SERVER + TOOL + "parameters = { type = 'array' }", "tool_servers[0].tools[0].parameters.type must be"),
        (PROJECT + "public = { concurrent_requests = 1 }", "projects[0].public needs requests_per_minute or"),
        (PROJECT + "content = { redact = [{ kind = 'pattern' }] }", "projects[0].content.redact[0].pattern is missing"),
        (PROJECT + "content = { redact = [{ kind = 'email', pattern = 'x' }] }", "redact[0].pattern goes with kind 'pattern'"),
        (SERVER + TOOL + SERVER + TOOL, "tool_servers[1].key is 'orders', which tool_servers[0].key is already"),
        (SERVER, "tool_servers[0].tools is missing; a server of kind 'http' lists them"),
        (SERVER + TOOL + TOOL, "tool_servers[0].tools[1].name: 'find' is there twice"),
        (SERVER.replace("https", "http") + TOOL, "tool_servers[0].url must begin with https://, unless allow_private is true"),
        (SERVER.replace("https://", "") + TOOL, "tool_servers[0].url must be an address like"),
        (SERVER + COMMAND + TOOL, "tool_servers[0].command does not go with kind 'http'; leave it out"),
        (SERVER + "environment = { A = 'b' }\n" + TOOL, "tool_servers[0].environment does not go with kind 'http'"),
        (STDIO, "tool_servers[0].command is missing; give the program and its arguments"),
        (STDIO + COMMAND + "url = 'https://x'", "tool_servers[0].url does not go with kind 'mcp_stdio'"),
        (STDIO + COMMAND + TOOL, "tool_servers[0].tools does not go with kind 'mcp_stdio'"),
        ("[[tool_servers]]\nkey = 'm'\nkind = 'mcp_http'\n", "tool_servers[0].url is missing; say where the server listens"),
        (SERVER + TOOL + "[tool_servers.tools.parameters]\n" + ".".join("a" * 70) + " = 1", "tables within tables, 64 deep"),
        (SERVER + TOOL + "[tool_servers.tools.parameters]\n" + ".".join("a" * 2_000) + " = 1", "tables within tables, 64 deep"),
    ],
)  # fmt: skip
def test_errors_name_file_key_value_and_remedy(
    load: Load, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long.txt").write_text("x" * 65_537)
    with pytest.raises(ConfigError) as caught:
        load(text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'dragoman.toml'}: ")
    assert message in said


@pytest.mark.parametrize(
    "text",
    [
        SERVER + f"headers = {{ Authorization = 'Bearer {SECRET}' }}\n" + TOOL,
        SERVER.replace("https://", f"https://user:{SECRET}@") + TOOL,
        SERVER.replace("https://", f"https://user:{SECRET}@[") + TOOL,
        STDIO + COMMAND + f"environment = {{ SERVICE_TOKEN = '{SECRET}' }}",
        STDIO + COMMAND + f"environment = {{ API_KEY = ['{SECRET}'] }}",
    ],
)
def test_a_secret_in_plain_text_is_refused_and_not_repeated(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert SECRET not in str(caught.value)
    assert "tool_servers[0]." in str(caught.value)


def test_a_file_without_projects_loads_none_of_the_operations_over_them(tmp_path: Path) -> None:
    """Every command reads the settings first."""
    code = (
        "import sys; from dragoman.config import load_config; load_config(None, {}, {})\n"
        "import dragoman.policy.administration as wishes; assert wishes.ProjectWish\n"
        "print([m for m in sys.modules if m.startswith('dragoman.policy.administration.')"
        " and m.rpartition('.')[2] not in ('amounts', 'project_wishes', 'wishes')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr
