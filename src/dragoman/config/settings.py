"""What can be set: the types of `dragoman.toml`, and the `Config` that comes of it.

`Settings` and its sections are the file as people write it; every other form (the JSON Schema, the
reference page, the error messages) is generated from them. `Config` is what the program is given:
whole, checked, with the provider catalog and the environment folded in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dragoman.http_client.settings import ProxySettings
from dragoman.policy.administration.project_wishes import (
    ArgumentWish,
    AttachedModelWish,
    ContentWish,
    MetricWish,
    ModelKey,
    ProjectDefinition,
    RightWish,
    Slug,
    ToolServerWish,
)
from dragoman.policy.administration.wishes import LimitsWish
from dragoman.records.dollar_price import DollarPrice
from dragoman.records.given_price import GivenPrice
from dragoman.records.limits import Limits
from dragoman.records.local_model import LocalModel
from dragoman.records.model import Feature, Model
from dragoman.records.provider import ProviderRow, Timeouts, UpstreamWire

DEFAULT_MODEL_ID = "smollm2-135m-instruct"
DEFAULT_MODEL_ALIAS = "local"
MAX_TEMPLATE_CHARS = 65_536

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]


class ConfigError(Exception):
    """A setting that cannot be used: the message names file, key, value and remedy, and no secret."""


# --- The file as people write it ----------------------------------------------------------------


class ModelSection(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the provider above it."""

    id: Name
    """How clients name it, and what answers show. Unique."""
    upstream_name: Name | None = None
    """What the provider calls it. Default: the id."""
    aliases: tuple[Name, ...] = ()
    """Other names for it. Unique among all ids and aliases."""
    fallbacks: tuple[Name, ...] = ()
    """Models to try, in order, when this one cannot answer."""
    context_tokens: Count | None = None
    """The longest prompt and answer together."""
    max_output_tokens: Count | None = None
    """The longest answer. Anthropic's format needs one."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """Used where neither the client nor its dialect says anything."""
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Used where neither the client nor its dialect says anything."""
    default_system_prompt: str | None = None
    """Put before a conversation that has no system message of its own."""
    lacks: frozenset[Feature] = frozenset()
    """What it cannot do, beyond what its provider cannot: a request that asks for it goes elsewhere."""
    max_stops: Annotated[int, Meta(ge=0)] | None = None
    """How many stop strings it takes; the server applies the rest."""
    max_ttft_ms: Count | None = None
    """The longest wait for a first token, in milliseconds, fallbacks included; past it a request is
    answered with 408."""
    owned_by: Name | None = None
    """Shown in lists of models. Default: the provider's name."""
    price: DollarPrice | None = None
    """What its tokens cost. Default: what a public price list says; where it says nothing, nothing is charged."""


class ProviderSection(msgspec.Struct, frozen=True, kw_only=True):
    """A provider: a `kind` from the catalog with what differs, or everything spelled out."""

    kind: Name | None = None
    """A row of the catalog (see below). Every other field overrides the row's."""
    name: Name | None = None
    """Unique. Default: the kind."""
    wire: UpstreamWire | None = None
    """The API that it speaks: OpenAI's chat completions, or Anthropic's Messages."""
    base_url: Annotated[str, Meta(max_length=2000)] | None = None
    """With its version path, as vendors print it: `https://api.openai.com/v1`."""
    api_key: Annotated[str, Meta(max_length=4096)] | None = None
    """Where the key is kept: `env:NAME` or `file:PATH`. Never the key itself."""
    headers: dict[str, str] | None = None
    """Sent with every request. A value may be a reference like `api_key`, and must be if it is secret."""
    query: dict[str, str] | None = None
    """Added to every URL."""
    chat_path: str | None = None
    """Below `base_url`, where it is not the usual one. May hold `{model}`."""
    check_path: str | None = None
    """Asked for by `dragoman doctor`, below `base_url`: something that needs the key and costs nothing."""
    auth_header: Literal["authorization", "x-api-key", "api-key"] | None = None
    """The header that carries the key. Default: the wire format's own."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    """What it calls the output limit."""
    tool_call_id_chars: Annotated[int, Meta(ge=8, le=40)] | None = None
    """How many letters and digits its ids of tool calls have, where it takes no others."""
    reports_stream_usage: bool | None = None
    """Takes `stream_options.include_usage`."""
    forwards: tuple[Name, ...] | None = None
    """Fields that this server does not know and the provider does. Mind those that change the price."""
    lacks: frozenset[Feature] | None = None
    """What none of its models can do."""
    max_stops: Annotated[int, Meta(ge=0)] | None = None
    """How many stop strings it takes; the server applies the rest."""
    timeouts: Timeouts | None = None
    """In seconds."""
    max_connections: Count | None = None
    """How many connections to it may be open at once."""
    max_response_bytes: Annotated[int, Meta(ge=1024)] | None = None
    """A longer answer is cut off as a fault of the provider."""
    models: tuple[ModelSection, ...] = ()
    """What can be asked of it."""


class TemplateSection(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt template of the project above it."""

    key: Slug
    """Unique in the project."""
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARS)] | None = None
    """`{{name}}` stands for an argument's value; nothing else in it means anything. One that differs from
    the active version becomes the next version."""
    text_file: Annotated[str, Meta(min_length=1)] | None = None
    """A file that holds the text, in its place; without the line break that it ends with."""
    arguments: Annotated[tuple[ArgumentWish, ...], Meta(max_length=256)] = ()
    """Those with a default or a description; every name in the text is an argument."""
    note: Annotated[str, Meta(max_length=1000)] | None = None
    """Why it is as it is; kept with a new version."""


class ProjectSection(msgspec.Struct, frozen=True, kw_only=True):
    """A project: what applications ask for by one name, and what stands behind that name."""

    key: Slug
    """How requests name it. Unique, also among ids and aliases of models."""
    name: Name | None = None
    """Shown to people. Default: the key."""
    account_id: Annotated[str, Meta(min_length=1, max_length=40)] = "acct_default"
    """The account whose keys may use it. It never changes."""
    models: Annotated[tuple[AttachedModelWish, ...], Meta(max_length=256)] = ()
    """What answers. The order means nothing, but where `default_model` is not set."""
    default_model: ModelKey | None = None
    """Key of the one of its models that answers where a request names none. Default: the first."""
    public: LimitsWish | None = None
    """Serve it without a key, within these limits for everybody together. Left out: a key is needed."""
    content: ContentWish = ContentWish()
    """What is kept of the words of conversations."""
    rights: Annotated[tuple[RightWish, ...], Meta(max_length=256)] = ()
    """What members of the account may do with it, in place of what their role in the account gives."""
    templates: Annotated[tuple[TemplateSection, ...], Meta(max_length=256)] = ()
    """Texts that system prompts are made of."""
    metrics: Annotated[tuple[MetricWish, ...], Meta(max_length=256)] = ()
    """What its completions are judged by, beside what is measured of every one."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The top level of `dragoman.toml`."""

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    """The address to listen on. `0.0.0.0` is every address of the machine."""
    port: Port = 8000
    """The TCP port to listen on. 0 picks a free one."""
    data_dir: Annotated[str, Meta(min_length=1)] | None = None
    """Keys, model files and state, readable by their owner only. Default: `~/.local/share/dragoman`
    (`$XDG_DATA_HOME/dragoman`)."""
    default_model: Name | None = None
    """Answers requests that name no model. Default: `local`, or the first model there is."""
    embedded_model: bool = True
    """Whether the embedded engine runs. Without it only providers answer."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call the server: `https://app.example.com`, or `*` for all."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the reverse proxies in front of the server: `10.0.0.0/8`. What they say of who asks
    (`X-Forwarded-For`) is believed; from anyone else it is ignored."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 20 * 1024 * 1024
    """The longest request body; a longer one is answered with 413."""
    max_choices: Annotated[int, Meta(ge=1, le=128)] = 8
    """The most choices (`n`) that one request may ask for."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many processes serve. Balances, limits and keys hold across all of them."""
    requests_per_minute: Annotated[int, Meta(ge=0)] = 10_000_000
    """The most requests within any 60 seconds, of an account whose plan says nothing else."""
    tokens_per_minute: Annotated[int, Meta(ge=0)] = 10_000_000_000
    """The most tokens, input and output together, within any 60 seconds, of such an account."""
    concurrent_requests: Annotated[int, Meta(ge=0)] = 100_000
    """The most requests at once of such an account."""
    accounting: bool = True
    """Whether usage is recorded and charged. Off, which is for measuring what that costs, only accounts that
    have neither a balance nor a monthly limit are served, nothing is kept of projects' completions, and no
    campaign can begin."""
    usage_retention_days: Annotated[int, Meta(ge=0)] = 0
    """Usage records older than this are deleted; their sums by day are kept. 0 keeps everything."""
    webhook_allow_private: bool = False
    """Whether the webhooks of accounts' alerts may go to this machine and to private networks, and
    without TLS."""
    header_hold_s: Seconds = 10.0
    """How long a stream's headers wait for the first token, so that an early failure gets a proper
    status."""
    shutdown_grace_s: Seconds = 30.0
    """How long running answers may take to finish after SIGTERM."""
    log_level: LogLevel = "info"
    """The least important thing that is logged."""
    log_format: LogFormat = "console"
    """For people, or one JSON object a line."""
    local_models: tuple[LocalModel, ...] = ()
    """Models that the embedded engine runs. Default: the packaged SmolLM2-135M-Instruct."""
    providers: tuple[ProviderSection, ...] = ()
    """Who else answers."""
    projects: tuple[ProjectSection, ...] = ()
    """What applications ask for by one name. Applied when the server starts."""
    tool_servers: tuple[ToolServerWish, ...] = ()
    """Who runs tools for projects' models. Applied when the server starts."""


# --- What the program is given ------------------------------------------------------------------


class ConfiguredProvider(msgspec.Struct, frozen=True, kw_only=True):
    row: ProviderRow
    models: tuple[Model, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, checked and complete; see `Settings` for what each field means."""

    host: str
    port: int
    data_dir: Path
    default_model: str
    """An id or alias that exists."""
    cors_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    """Each can be read by `policy.networks`."""
    max_body_bytes: int
    max_choices: int
    workers: int
    limits: Limits
    """Of an account whose plan says nothing else."""
    accounting: bool
    usage_retention_days: int
    """0: for ever."""
    webhook_allow_private: bool
    header_hold_s: float
    shutdown_grace_s: float
    log_level: LogLevel
    log_format: LogFormat
    local_models: tuple[LocalModel, ...]
    """Empty where the embedded engine is off. Paths are absolute."""
    providers: tuple[ConfiguredProvider, ...]
    prices: tuple[GivenPrice, ...]
    """Of the models that have a price of their own."""
    projects: tuple[ProjectDefinition, ...] = ()
    """As the file has them, with the texts of their templates read."""
    tool_servers: tuple[ToolServerWish, ...] = ()
    """References to files are absolute."""
    proxies: ProxySettings
    """From `HTTP_PROXY` and its kin. May hold passwords: never to be shown."""
    path: Path | None
    """The file that was read, if any."""
    origins: tuple[tuple[str, str], ...]
    """Where each top-level setting that is not a default comes from: (name, file or variable)."""
    warnings: tuple[str, ...]
    """What is allowed, and worth saying at the start."""
