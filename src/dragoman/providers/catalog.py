"""The providers that we know: one row each, and nothing about them anywhere else.

A row holds what its vendor documents and where it departs from the wire format that it speaks. What
only some of its models lack belongs to the model, in the configuration. `forwards` never names a
field that changes the price (`service_tier`, web search, …): whoever wants that says so in their own row.

To add a provider that speaks a known wire format, add a row. The key of each row is the `kind` by
which a configuration refers to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dragoman.dialects.anthropic import UPSTREAM_LACKS, UPSTREAM_MAX_STOPS
from dragoman.records.provider import ProviderRow

_ROWS = (
    # --- Vendors' own services ---
    ProviderRow(
        # https://platform.openai.com/docs/api-reference/chat/create
        name="openai",
        wire="openai",
        base_url="https://api.openai.com/v1",
        api_key="env:OPENAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        max_stops=4,
        lacks=frozenset({"top_k"}),
        forwards=("prompt_cache_key", "safety_identifier", "verbosity"),
    ),
    ProviderRow(
        # https://platform.claude.com/docs/en/api/messages
        name="anthropic",
        wire="anthropic",
        base_url="https://api.anthropic.com/v1",
        api_key="env:ANTHROPIC_API_KEY",
        max_stops=UPSTREAM_MAX_STOPS,
        lacks=UPSTREAM_LACKS,
    ),
    ProviderRow(
        # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
        # Each customer has a host of their own; the one here can never resolve, so that a key is
        # not sent to a stranger's. A configuration sets `base_url`.
        name="azure-openai",
        wire="openai",
        base_url="https://your-resource.openai.azure.invalid/openai/v1",
        api_key="env:AZURE_OPENAI_API_KEY",
        auth_header="api-key",
        max_tokens_field="max_completion_tokens",
        max_stops=4,
        lacks=frozenset({"top_k"}),
        forwards=("prompt_cache_key", "verbosity"),
    ),
    ProviderRow(
        # https://docs.mistral.ai/api: unknown fields are refused, and a seed is `random_seed`.
        # Any id of a tool call that is not 9 letters and digits is a 400.
        name="mistral",
        wire="openai",
        base_url="https://api.mistral.ai/v1",
        api_key="env:MISTRAL_API_KEY",
        tool_call_id_chars=9,
        reports_stream_usage=False,
        lacks=frozenset({"seed", "top_k", "logit_bias", "logprobs"}),
        forwards=("safe_prompt",),
    ),
    ProviderRow(
        # https://api-docs.deepseek.com/api/create-chat-completion. A turn with calls that comes back
        # without its thinking is a 400: https://api-docs.deepseek.com/guides/thinking_mode
        name="deepseek",
        wire="openai",
        base_url="https://api.deepseek.com/v1",
        api_key="env:DEEPSEEK_API_KEY",
        max_stops=16,
        lacks=frozenset({"n", "seed", "top_k", "logit_bias", "json_schema", "images"}),
        forwards=("reasoning_content",),
    ),
    ProviderRow(
        # https://docs.x.ai/docs/api-reference
        name="xai",
        wire="openai",
        base_url="https://api.x.ai/v1",
        api_key="env:XAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        lacks=frozenset({"top_k", "logit_bias"}),
    ),
    ProviderRow(
        # https://ai.google.dev/gemini-api/docs/openai
        name="gemini",
        wire="openai",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        api_key="env:GEMINI_API_KEY",
        max_stops=5,
        lacks=frozenset({"top_k", "logit_bias"}),
    ),
    ProviderRow(
        # Its page documents no more than these fields, and puts usage on a stream's last chunk.
        name="dos-ai",
        wire="openai",
        base_url="https://api.dos.ai/v1",
        api_key="env:DOS_API_KEY",
        reports_stream_usage=False,
        max_stops=4,
        lacks=frozenset({"top_k", "seed", "logit_bias", "logprobs"}),
    ),
    ProviderRow(
        # https://docs.premai.io. The page's own example says http; a key must not travel so.
        name="prem",
        wire="openai",
        base_url="https://studio.premai.io/api/v1",
        api_key="env:PREMAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        reports_stream_usage=False,
        lacks=frozenset({"n", "top_k", "logit_bias", "logprobs", "json_object", "images"}),
    ),
    # --- Services that run others' models ---
    ProviderRow(
        # https://openrouter.ai/docs/api-reference/chat-completion. Its list of models is public, so
        # only `/key` tells whether a key is good.
        name="openrouter",
        wire="openai",
        base_url="https://openrouter.ai/api/v1",
        api_key="env:OPENROUTER_API_KEY",
        check_path="key",
        lacks=frozenset({"n"}),
        forwards=("reasoning_details", "cache_control"),
    ),
    ProviderRow(
        # https://console.groq.com/docs/openai
        name="groq",
        wire="openai",
        base_url="https://api.groq.com/openai/v1",
        api_key="env:GROQ_API_KEY",
        max_tokens_field="max_completion_tokens",
        max_stops=4,
        lacks=frozenset({"n", "top_k", "logit_bias", "logprobs"}),
    ),
    ProviderRow(
        # https://docs.together.ai/reference/chat-completions-1. Its `logprobs` is a number.
        name="together",
        wire="openai",
        base_url="https://api.together.xyz/v1",
        api_key="env:TOGETHER_API_KEY",
        lacks=frozenset({"logprobs"}),
    ),
    ProviderRow(
        # https://docs.fireworks.ai/api-reference/post-chatcompletions
        name="fireworks",
        wire="openai",
        base_url="https://api.fireworks.ai/inference/v1",
        api_key="env:FIREWORKS_API_KEY",
        max_stops=4,
    ),
    ProviderRow(
        # https://inference-docs.cerebras.ai/resources/openai: these are refused.
        name="cerebras",
        wire="openai",
        base_url="https://api.cerebras.ai/v1",
        api_key="env:CEREBRAS_API_KEY",
        max_tokens_field="max_completion_tokens",
        max_stops=4,
        lacks=frozenset({"n", "top_k", "logit_bias", "frequency_penalty", "presence_penalty"}),
    ),
    ProviderRow(
        # https://deepinfra.com/docs/openai_api
        name="deepinfra",
        wire="openai",
        base_url="https://api.deepinfra.com/v1/openai",
        api_key="env:DEEPINFRA_API_KEY",
        lacks=frozenset({"logit_bias", "logprobs"}),
    ),
    ProviderRow(
        # https://huggingface.co/docs/inference-providers
        name="huggingface",
        wire="openai",
        base_url="https://router.huggingface.co/v1",
        api_key="env:HF_TOKEN",
        lacks=frozenset({"top_k"}),
    ),
    # --- Servers of one's own. A key is optional, so no row names one. ---
    ProviderRow(
        # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html. Thinking is handed
        # back as `reasoning`; templates see it by its older name too.
        name="vllm",
        wire="openai",
        base_url="http://127.0.0.1:8000/v1",
        forwards=("reasoning",),
    ),
    ProviderRow(
        # https://docs.sglang.ai/basic_usage/openai_api_completions.html
        name="sglang",
        wire="openai",
        base_url="http://127.0.0.1:30000/v1",
        forwards=("reasoning_content",),
    ),
    ProviderRow(
        # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. Asked for several
        # choices, it counts the tokens of one.
        name="llama-server",
        wire="openai",
        base_url="http://127.0.0.1:8080/v1",
        lacks=frozenset({"n"}),
        forwards=("reasoning_content",),
    ),
    ProviderRow(
        # https://github.com/ollama/ollama/blob/main/docs/openai.md
        name="ollama",
        wire="openai",
        base_url="http://127.0.0.1:11434/v1",
        lacks=frozenset({"n", "top_k", "tool_choice", "logit_bias", "logprobs"}),
        forwards=("reasoning",),
    ),
    ProviderRow(
        # https://lmstudio.ai/docs/developer/openai-compat
        name="lm-studio",
        wire="openai",
        base_url="http://127.0.0.1:1234/v1",
        lacks=frozenset({"n", "logprobs"}),
    ),
)

CATALOG: Mapping[str, ProviderRow] = MappingProxyType({row.name: row for row in _ROWS})
"""Known providers, by name."""
