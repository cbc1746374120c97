"""What a hold is called outside: `hold_<user id>_<number>`, so that its name alone says whose balance it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from groat_server.core.values import ID_MAX

HOLD_NAME_PATTERN = r"hold_[1-9][0-9]{0,18}_[1-9][0-9]{0,18}"

SECONDS_DEFAULT = 15 * 60
"""How long a hold lasts unless said otherwise."""

SECONDS_MAX = 24 * 60 * 60
"""How long it may last without a renewal."""

_NAME = re.compile(HOLD_NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class HoldName:
    """One hold of one user."""

    user_id: int
    hold_id: int

    def __str__(self) -> str:
        return f"hold_{self.user_id}_{self.hold_id}"


def read_hold_name(value: object) -> HoldName:
    """Return the hold that a text names. Raises ValueError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be the id of a hold")
    user_id, hold_id = map(int, value.removeprefix("hold_").split("_"))
    if user_id > ID_MAX or hold_id > ID_MAX:
        raise ValueError("must be the id of a hold")
    return HoldName(user_id, hold_id)
