"""Words of conversations, made alike, and what somebody looks for in them.

Letters are compared without case, accents and width. A word is a run of letters and digits; where a script
puts no blanks between words, each character is one, so that a run of them is found as a phrase. What is
indexed is the words with a blank between them: a phrase is then a piece of it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec

from dragoman.errors import InvalidRequest

MAX_INDEXED_CHARS = 200_000
"""Of one interaction; what follows is not found."""
MAX_WORD_CHARS = 64
MAX_ASKED_WORDS = 32
MAX_ASKED_CHARS = 4096
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")
# Thai, Lao and Khmer; kana; Han with its extensions and compatibility forms.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_QUOTED = re.compile(r'"([^"]*)"?')


class WordsAsked(msgspec.Struct, frozen=True):
    words: tuple[str, ...]
    """All that have to be there, those of phrases included."""
    phrases: tuple[str, ...]
    """Of several words, with a blank between them."""

    @property
    def match(self) -> str:
        """In the syntax of the index: words alone, each in quotes."""
        return " ".join([f'"{word}"' for word in self.words])


def words_asked(text: str) -> WordsAsked:
    """What `text` looks for; nothing, where it has no word.

    Raises `InvalidRequest` where it is too long.
    """
    if len(text) > MAX_ASKED_CHARS:
        raise InvalidRequest(
            f"the text to look for has {len(text)} characters; {MAX_ASKED_CHARS} are allowed",
            param="text",
        )
    phrases = [words_of(quoted) for quoted in _QUOTED.findall(text)]
    phrases += [words_of(chunk) for chunk in _QUOTED.sub(" ", text).split()]
    words = tuple(dict.fromkeys(word for phrase in phrases for word in phrase))
    if len(words) > MAX_ASKED_WORDS:
        raise InvalidRequest(
            f"the text to look for has {len(words)} words; {MAX_ASKED_WORDS} are allowed",
            param="text",
        )
    several = [" ".join(phrase) for phrase in phrases if len(phrase) > 1]
    return WordsAsked(words, tuple(dict.fromkeys(several)))


def words_of(text: str) -> list[str]:
    if text.isascii():
        words = _ASCII_WORD.findall(text.lower())
    else:
        apart = unicodedata.normalize("NFKD", text).casefold()
        bare = "".join([letter for letter in apart if not unicodedata.combining(letter)])
        words = _WORD.findall(_UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFKC", bare)))
    return [word[:MAX_WORD_CHARS] for word in words]


def indexed_words(content: str) -> str:
    """The words of messages and completion, out of the JSON that is kept of them."""
    texts: list[str] = []
    left = MAX_INDEXED_CHARS
    for text in _texts(_decoded(content)):
        texts.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    words = words_of("\n".join(texts))
    # Lone surrogates are letters to nobody, but may be in JSON.
    return " ".join(words).encode(errors="ignore").decode()


def _decoded(content: str) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        pass
    except RecursionError:
        return None
    try:
        # It takes escaped surrogates as they are.
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _texts(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        return
    messages = content.get("messages")
    for message in [*(messages if isinstance(messages, list) else ()), content.get("completion")]:
        if isinstance(message, dict):
            yield from _texts_of_parts(message.get("content"))


def _texts_of_parts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
