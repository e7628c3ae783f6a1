"""Pure codecs: wire bytes ↔ canonical values. One file per wire format, both its sides together.

Dialects never import each other. What two formats truly share is a module beneath them:
`fields` (decoding with errors that name the path), `chat_completions` (what `openai` and `studio`
share) and the `anthropic_…` modules (what `anthropic` and `dreamsolve` share).
"""
