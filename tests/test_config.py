"""Settings: precedence, what they turn into, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.config import (
    Config,
    ConfigError,
    SecretUnavailable,
    load_config,
    read_bootstrap_key,
    resolve_secret,
    without_packaged_model,
)
from dragoman.config.check import check_table
from dragoman.config.reference import field_texts, reference_text, schema_text
from dragoman.config.settings import Settings
from dragoman.providers.catalog import CATALOG

REPOSITORY = Path(__file__).parent.parent
SECRET = "sk-proj-a-secret-that-must-not-be-shown"

Load = Callable[..., Config]

ONE_PROVIDER = """
[[providers]]
name = "office"
wire = "openai"
base_url = "http://10.0.0.5/v1"
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a file with the given text, in an environment with only the given variables."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, environ: Mapping[str, str] | None = None, **overrides: str) -> Config:
        path = tmp_path / "dragoman.toml"
        path.write_text(text)
        return load_config(path, overrides, environ or {})

    return load


def load_nothing(tmp_path: Path, environ: Mapping[str, str]) -> Config:
    return load_config(None, {}, {"XDG_CONFIG_HOME": str(tmp_path), **environ})


# --- Where values come from ---------------------------------------------------------------------


def test_defaults_serve_the_packaged_model_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_nothing(tmp_path, {"XDG_DATA_HOME": "/data"})
    assert (config.host, config.port, config.default_model) == ("127.0.0.1", 8000, "local")
    assert config.data_dir == Path("/data/dragoman")
    assert [(model.id, model.aliases) for model in config.local_models] == [
        ("smollm2-135m-instruct", ("local",))
    ]
    assert config.max_body_bytes == 20 * 1024 * 1024
    assert config.max_choices == 8
    assert config.header_hold_s == 10
    assert config.path is None
    assert config.origins == ()
    assert config.warnings == ()


def test_environment_beats_file_and_command_line_beats_both(load: Load) -> None:
    text = "port = 1111\nhost = '127.0.0.2'\nmax_choices = 3\n"
    assert load(text).port == 1111
    assert load(text, {"DRAGOMAN_PORT": "2222"}).port == 2222
    config = load(text, {"DRAGOMAN_PORT": "2222", "DRAGOMAN_MAX_CHOICES": "4"}, port="3333")
    assert (config.port, config.max_choices, config.host) == (3333, 4, "127.0.0.2")
    origins = dict(config.origins)
    assert origins["port"] == "--port"
    assert origins["max_choices"] == "DRAGOMAN_MAX_CHOICES"
    assert origins["host"] == str(config.path)


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("DRAGOMAN_HOST", "localhost", "host", "localhost"),
        ("DRAGOMAN_DATA_DIR", "/srv/d", "data_dir", Path("/srv/d")),
        (
            "DRAGOMAN_CORS_ORIGINS",
            "https://a.example, https://b.example",
            "cors_origins",
            ("https://a.example", "https://b.example"),
        ),
        ("DRAGOMAN_HEADER_HOLD_S", "2.5", "header_hold_s", 2.5),
        ("DRAGOMAN_LOG_FORMAT", "json", "log_format", "json"),
        ("DRAGOMAN_MAX_BODY_BYTES", "4096", "max_body_bytes", 4096),
    ],
)
def test_every_kind_of_scalar_can_come_from_the_environment(
    load: Load, variable: str, text: str, field: str, value: object
) -> None:
    assert getattr(load("", {variable: text}), field) == value


def test_an_empty_variable_is_as_good_as_none(load: Load) -> None:
    assert load("port = 1111", {"DRAGOMAN_PORT": ""}).port == 1111


def test_embedded_model_can_be_switched_off_by_a_variable(load: Load) -> None:
    text = ONE_PROVIDER + "[[providers.models]]\nid = 'big'\n"
    config = load(text, {"DRAGOMAN_EMBEDDED_MODEL": "false"})
    assert config.local_models == ()
    assert config.default_model == "big"


def test_file_is_found_by_variable_then_working_directory_then_user_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    (home / "dragoman").mkdir(parents=True)
    monkeypatch.chdir(work)
    (home / "dragoman" / "dragoman.toml").write_text("port = 1")
    assert load_nothing(home, {}).port == 1
    (work / "dragoman.toml").write_text("port = 2")
    assert load_nothing(home, {}).port == 2
    (tmp_path / "other.toml").write_text("port = 3")
    assert load_nothing(home, {"DRAGOMAN_CONFIG": "../other.toml"}).port == 3


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: the file cannot be read: No such file"):
        load_config(tmp_path / "gone.toml", {}, {})


def test_relative_paths_are_taken_from_the_file(load: Load, tmp_path: Path) -> None:
    config = load(
        "data_dir = 'state'\n"
        "[[local_models]]\nid = 'a'\npath = 'models/a.gguf'\n"
        + ONE_PROVIDER
        + "api_key = 'file:key.txt'\n"
    )
    assert config.data_dir == tmp_path / "state"
    assert config.local_models[0].path == str(tmp_path / "models/a.gguf")
    assert config.providers[0].row.api_key == f"file:{tmp_path}/key.txt"


def test_listening_everywhere_is_warned_of(load: Load) -> None:
    (warning,) = load("host = '0.0.0.0'").warnings
    assert "0.0.0.0" in warning
    assert "TLS" in warning


def test_a_key_that_would_travel_in_the_open_is_warned_of(load: Load) -> None:
    (warning,) = load(ONE_PROVIDER + "api_key = 'env:KEY'").warnings
    assert warning == "provider office: its key is sent to 10.0.0.5 unencrypted; use https://"
    near = ONE_PROVIDER.replace("10.0.0.5", "127.0.0.1:9000")
    assert load(near + "api_key = 'env:KEY'").warnings == ()


def test_a_misspelt_variable_is_warned_of_by_its_nearest_name(load: Load) -> None:
    (warning,) = load("", {"DRAGOMAN_PROT": "1"}).warnings
    assert warning == "the variable DRAGOMAN_PROT is not known; did you mean DRAGOMAN_PORT?"


def test_proxies_come_from_the_environment_in_either_case(load: Load) -> None:
    proxies = load(
        "",
        {"http_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2", "NO_PROXY": ".corp, 10.0.0.0/8"},
    ).proxies
    assert (proxies.http, proxies.https) == ("http://a:1", "http://b:2")
    assert proxies.no_proxy == (".corp", "10.0.0.0/8")
    assert load("", {"ALL_PROXY": "http://c:3"}).proxies.https == "http://c:3"


def test_a_clients_proxy_header_in_a_cgi_process_is_no_proxy(load: Load) -> None:
    environ = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil:1"}
    assert load("", environ).proxies.http is None


# --- Providers and models -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_every_kind_of_the_catalog_can_be_configured(load: Load, kind: str) -> None:
    text = f"""
        [[providers]]
        kind = "{kind}"
        base_url = "https://example.com/v1"
        api_key = "env:KEY"
        [[providers.models]]
        id = "m"
    """
    (provider,) = load(text).providers
    assert provider.row.name == kind
    assert provider.row.wire == CATALOG[kind].wire
    assert provider.row.base_url == "https://example.com/v1"
    assert provider.row.api_key == "env:KEY"
    assert provider.models[0].provider == kind


def test_a_kind_brings_its_row_and_everything_can_be_overridden(load: Load) -> None:
    text = """
        [[providers]]
        kind = "openai"
        name = "ours"
        api_key = "env:OURS"
        max_connections = 7
        headers = { x-team = "red", authorization-extra-token = "env:EXTRA" }
        query = { api-version = "2026" }
        timeouts = { idle_s = 5 }
        lacks = ["seed"]

        [[providers.models]]
        id = "big"
        upstream_name = "big-2026"
        aliases = ["b"]
        fallbacks = ["local"]
        temperature = 0.5
        lacks = ["images"]
        max_stops = 2
    """
    (provider,) = load(text).providers
    row, (model,) = provider.row, provider.models
    assert (row.name, row.base_url) == ("ours", CATALOG["openai"].base_url)
    assert row.max_connections == 7
    assert dict(row.headers)["x-team"] == "red"
    assert row.query == (("api-version", "2026"),)
    assert row.timeouts == msgspec.structs.replace(CATALOG["openai"].timeouts, idle_s=5)
    assert (model.id, model.provider, model.upstream_name) == ("big", "ours", "big-2026")
    assert (model.aliases, model.fallbacks) == (("b",), ("local",))
    assert model.lacks == {"seed", "images"}
    assert model.max_stops == 2
    assert model.default_sampling.temperature == 0.5
    assert model.owned_by == "ours"


def test_what_a_provider_takes_in_messages_is_no_field_of_a_request(load: Load) -> None:
    text = """
        [[providers]]
        kind = "sglang"
        forwards = ["reasoning", "cache_control", "guided_regex"]

        [[providers.models]]
        id = "m"
    """
    (provider,) = load(text).providers
    assert provider.row.forwards == ("reasoning", "cache_control", "guided_regex")
    assert provider.models[0].forwards == {"guided_regex"}


def test_a_provider_may_be_spelled_out_without_a_kind(load: Load) -> None:
    (provider,) = load(ONE_PROVIDER + "max_response_bytes = 4096\n").providers
    assert (provider.row.name, provider.row.wire) == ("office", "openai")
    assert provider.row.max_response_bytes == 4096


def test_the_server_can_go_on_without_the_packaged_model(load: Load) -> None:
    config = load(
        ONE_PROVIDER + "[[providers.models]]\nid = 'big'\nfallbacks = ['local', 'small']\n"
        "[[providers.models]]\nid = 'small'\n"
    )
    rest = without_packaged_model(config)
    assert rest is not None
    assert rest.local_models == ()
    assert rest.default_model == "big"
    assert rest.providers[0].models[0].fallbacks == ("small",)
    assert without_packaged_model(load("")) is None


# --- Errors -------------------------------------------------------------------------------------

LOCAL = "[[local_models]]\nid = 'a'\n"
MODEL = ONE_PROVIDER + "[[providers.models]]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "prot is not a setting; did you mean port?"),
        ("zzz = 1", "zzz is not a setting; use one of accounting, concurrent_requests,"),
        ("port = 70000", "port is 70000; use a whole number from 0 to 65535"),
        ("port = 'x'", "port is 'x'; use a whole number from 0 to 65535"),
        ("port = true", "port is True; use a whole number from 0 to 65535"),
        ("host = ''", "host is ''; use text of up to 255 characters"),
        ("max_choices = 0", "max_choices is 0; use a whole number from 1 to 128"),
        ("header_hold_s = nan", "header_hold_s is nan; use a number from 0 to 86400"),
        ("log_level = 'loud'", "log_level is 'loud'; use one of \"debug\", \"error\", \"info\", \"warning\""),
        ("embedded_model = 'no'", "embedded_model is 'no'; use true or false"),
        ("trusted_proxies = ['10.0.0.0/33']", "trusted_proxies[0]: '10.0.0.0/33' is no network; write"),
        ("cors_origins = 'x'", "cors_origins is 'x'; use a list, each text"),
        ("cors_origins = ['example.com']", "cors_origins[0] is 'example.com'; use scheme and host"),
        ("cors_origins = ['https://a.example/x']", "cors_origins[0] is 'https://a.example/x'; use"),
        ("local_models = 3", "local_models is 3; use tables"),
        ("local_models = [3]", "local_models[0] must be a table, [[local_models]]"),
        ("[[local_models]]\npath = 'x'", "local_models[0].id is missing; add it"),
        (LOCAL + "slots = 0", "local_models[0].slots is 0; use a whole number from 1 to 256"),
        (LOCAL + "stal_s = 1", "local_models[0].stal_s is not a setting; did you mean stall_s?"),
        ("embedded_model = false\n" + LOCAL, "local_models are given, and embedded_model is false"),
        ("embedded_model = false", "there is no model: embedded_model is false and no provider"),
        ("default_model = 'locl'", "default_model is 'locl', which is no model; did you mean local?"),
        (LOCAL + LOCAL, "local_models[1].id is 'a', which local_models[0].id is already"),
        (LOCAL + "aliases = ['a b']", "local_models[0].aliases[0] is 'a b'; use up to 200 characters"),
        ("[[providers]]\nkind = 'opnai'", "providers[0].kind is 'opnai'; did you mean openai?"),
        ("[[providers]]\nname = 'x'", "providers[0].wire is missing; add it, or name a kind"),
        ("[[providers]]\nwire = 'grpc'", 'providers[0].wire is \'grpc\'; use one of "anthropic", "openai"'),
        (ONE_PROVIDER + ONE_PROVIDER, "providers[1].name is 'office' a second time"),
        (ONE_PROVIDER.replace("office", "local"), "providers[0].name is 'local', the embedded engine's"),
        (ONE_PROVIDER.replace("http://", ""), "providers[0].base_url is '10.0.0.5/v1'; use a whole URL"),
        (ONE_PROVIDER.replace("http:", "ftp:"), "providers[0].base_url is 'ftp://10.0.0.5/v1'; use a"),
        (ONE_PROVIDER + "timeouts = { idle_s = 0 }", "providers[0].timeouts.idle_s is 0; use a number over 0, up to 86400"),
        (ONE_PROVIDER + "timeouts = { idel_s = 1 }", "providers[0].timeouts.idel_s is not a setting; did you mean idle_s?"),
        (ONE_PROVIDER + "lacks = ['sed']", "providers[0].lacks is ['sed']; use a list, each one of"),
        (MODEL + "ids = 'x'", "providers[0].models[0].ids is not a setting; did you mean id?"),
        (MODEL + "aliases = ['x']", "providers[0].models[0].id is missing; add it"),
        (MODEL + "id = 'local'", "providers[0].models[0].id is 'local', which local_models[0].aliases[0] is already"),
        (MODEL + "id = 'x'\nfallbacks = ['locl']", "providers[0].models[0].fallbacks[0] is 'locl', which is no model; did you mean local?"),
        (MODEL + "id = 'x'\nfallbacks = ['x']", "providers[0].models[0].fallbacks[0] is the model itself"),
        (MODEL + "id = 'x'\ntemperature = 3", "providers[0].models[0].temperature is 3; use a number from 0 to 2"),
        ("[[providers]]\nkind = 'azure-openai'", "providers[0].base_url is missing; add the one of your"),
        ("[[providers]]\nkind = 'vllm'", "providers[0].base_url is http://127.0.0.1:8000/v1, where this server itself listens"),
        ("data_dir = '~nobody-of-that-name/x'", "~nobody-of-that-name/x names a home directory that"),
        ("port = x", "the file is not TOML: Invalid value (at line 1, column 8)"),
    ],
)  # fmt: skip
def test_errors_name_file_key_value_and_remedy(
    load: Load, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'dragoman.toml'}: ")
    assert message in said


@pytest.mark.parametrize(
    "line",
    [
        f"api_key = '{SECRET}'",
        f"api_key = 'env:{SECRET}'",
        f"api_key = 'file'\nname2 = '{SECRET}'",
        f"api_key = ['{SECRET}']",
        f"headers = {{ Authorization = 'Bearer {SECRET}' }}",
        f"headers = {{ x-api-key = '{SECRET}' }}",
        f"query = {{ access_token = '{SECRET}' }}",
        f"apikey = '{SECRET}'",
        f"base_url = 'https://user:{SECRET}@example.com/v1'",
        f"base_url = 'https://user:{SECRET}@example.com:x/v1'",
        f"base_url = 'https://example.com/v1?key={SECRET}'",
    ],
)
def test_a_secret_in_plain_text_is_refused_and_not_repeated(load: Load, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"[[providers]]\nkind = 'openai'\n{line}\n")
    assert SECRET not in str(caught.value)
    assert "providers[0]." in str(caught.value)


def test_environment_errors_name_the_variable(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"^DRAGOMAN_PORT is 'x'; use a whole number from 0 to"):
        load("", {"DRAGOMAN_PORT": "x"})


def test_flag_errors_name_the_flag(load: Load) -> None:
    with pytest.raises(ConfigError, match=r'^--log-level is \'x\'; use one of "debug"'):
        load("", log_level="x")


def test_a_huge_file_is_refused_unread(load: Load) -> None:
    with pytest.raises(ConfigError, match="over 1048576 bytes"):
        load("#" * 2_000_000)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dragoman.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        load_config(path, {}, {})


@pytest.mark.parametrize("name", ["providers", "local_models"])
def test_single_brackets_for_a_list_of_tables_are_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dragoman.toml"
    path.write_text(f"[{name}]\n" + ('id = "a"\n' if name == "local_models" else ""))
    with pytest.raises(ConfigError, match=rf"write \[\[{name}\]\]"):
        load_config(path, {}, {})


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_names = st.sampled_from([*Settings.__struct_fields__, "id", "models", "name", "timeouts", "x"])
_tables = st.dictionaries(_names, _scalars | st.lists(_scalars, max_size=2), max_size=3)
_values = _scalars | _tables | st.lists(_scalars | _tables, max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_names, _values, max_size=3))
def test_any_table_is_either_sound_or_a_config_error(table: dict[str, Any]) -> None:
    try:
        check_table(table, Settings)
    except ConfigError:
        return
    msgspec.convert(table, Settings)


# --- Secrets ------------------------------------------------------------------------------------


def test_secrets_come_from_variables_and_files_without_white_space(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    assert resolve_secret(f"file:{path}", {}) == SECRET
    assert resolve_secret("env:KEY", {"KEY": f" {SECRET} "}) == SECRET


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:KEY", "the environment variable KEY is not set; export it"),
        ("file:/nowhere/key", "the secret file /nowhere/key cannot be read: No such file"),
        ("file:~nobody-of-that-name/k", "names a home directory that does not exist"),
        (SECRET, "a secret is given in plain text; write env:NAME or file:PATH"),
    ],
)
def test_missing_secrets_are_named_by_their_reference(reference: str, message: str) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        resolve_secret(reference, {})
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff", "is not text in UTF-8"),
        (b"a\nb", "has line breaks or control characters"),
        (b"x" * 70_000, "is over 65536 bytes long"),
    ],
)
def test_unusable_secret_files_are_refused_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SecretUnavailable, match=message):
        resolve_secret(f"file:{path}", {})


def test_bootstrap_key_is_no_part_of_the_config(load: Load) -> None:
    environ = {"DRAGOMAN_BOOTSTRAP_KEY": SECRET}
    config = load("", environ)
    assert read_bootstrap_key(environ) == SECRET
    assert SECRET not in repr(config)
    assert config.warnings == ()


def test_a_proxys_password_is_not_in_the_configs_text(load: Load) -> None:
    assert SECRET not in repr(load("", {"https_proxy": f"http://u:{SECRET}@p:1"}))


# --- What is generated --------------------------------------------------------------------------


def test_example_file_is_loaded_and_obeys_the_schema() -> None:
    path = REPOSITORY / "dragoman.example.toml"
    config = load_config(path, {}, {})
    assert {provider.row.name for provider in config.providers} == {"openai", "office"}
    assert config.default_model == "local"
    schema = json.loads(schema_text())
    jsonschema_rs.Draft202012Validator(schema).validate(tomllib.loads(path.read_text()))
    reference = path.read_text().splitlines()[0].removeprefix("#:schema ")
    assert (REPOSITORY / reference).is_file()


def test_every_uncommented_scalar_of_the_example_is_its_default(
    load: Load,
) -> None:
    table = tomllib.loads((REPOSITORY / "dragoman.example.toml").read_text())
    written = {name: value for name, value in table.items() if not isinstance(value, list)}
    defaults = load("")
    assert written == {name: getattr(defaults, name) for name in written}
    assert len(written) >= 3


def test_written_schema_and_reference_are_those_of_the_types() -> None:
    remedy = "run: dragoman config docs --write docs"
    assert (REPOSITORY / "docs/dragoman.schema.json").read_text() == schema_text(), remedy
    assert (REPOSITORY / "docs/configuration.md").read_text() == reference_text(), remedy


@pytest.mark.parametrize(
    "text", ["port = 70000", "prot = 1", "[[providers]]\nkind = 3", "[[local_models]]\nslots = 1"]
)
def test_schema_refuses_what_the_server_refuses(text: str) -> None:
    assert not jsonschema_rs.Draft202012Validator(json.loads(schema_text())).is_valid(
        tomllib.loads(text)
    )


def test_every_setting_is_described_in_words() -> None:
    texts = field_texts(Settings)
    assert set(texts) == set(Settings.__struct_fields__)
    assert all(text[0].isupper() and text.endswith(".") for text in texts.values())
