"""Text from outside: what is taken, and in which form it is kept."""

from __future__ import annotations

import unicodedata

_CONTROLS = {"Cc", "Cs"}
"""Unicode's control characters (NUL among them) and lone surrogates."""

_LINE_BREAKS = "\n\t"


def is_safe(text: str, *, multiline: bool = False) -> bool:
    """Tell whether `text` has neither control characters nor lone surrogates; `multiline` allows tab and newline."""
    if text.isascii() and text.isprintable():
        return True
    return not any(
        unicodedata.category(character) in _CONTROLS and not (multiline and character in _LINE_BREAKS)
        for character in text
    )


def normal_email(email: str) -> str:
    """Return an e-mail address as it is stored and compared: trimmed, NFC, lower case."""
    return unicodedata.normalize("NFC", email.strip()).lower()
