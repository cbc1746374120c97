"""Text from the ledger on a terminal: whatever it holds appears as text and steers nothing."""

from __future__ import annotations

import unicodedata

_STEERING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode's controls, invisible formatting (marks that turn the direction of writing among it), breaks of lines."""


def plain(text: str | None) -> str:
    r"""Return `text` with each character that could steer a terminal written out, as `\x1b`; nothing for None."""
    if text is None:
        return ""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(each) if unicodedata.category(each) in _STEERING else each for each in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def fitted(text: str, width: int, *, right: bool = False, crop: bool = True) -> str:
    """Return `text` in so many cells of a terminal: filled up with blanks and, with `crop`, cut with an ellipsis."""
    from rich.cells import cell_len, set_cell_size

    taken = cell_len(text)
    if taken > width:
        return f"{set_cell_size(text, width - 1)}…" if crop and width > 0 else text
    blanks = " " * (width - taken)
    return blanks + text if right else text + blanks
