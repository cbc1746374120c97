"""Where the service is and who calls it: from the arguments, else from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from ._version import __version__

URL_DEFAULT = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A service and a caller. It has no `repr` of its own, since both members may hold secrets."""

    url: str
    api_key: str | None

    @classmethod
    def find(cls, url: str | None, api_key: str | None) -> Self:
        """Take what is given, else GROAT_URL and GROAT_API_KEY. Raises ValueError."""
        url = url or os.environ.get("GROAT_URL") or URL_DEFAULT
        api_key = (api_key or os.environ.get("GROAT_API_KEY") or "").strip()
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("The URL of Groat has to begin with http:// or https://.")
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise ValueError("The API key has characters that no API key has.")
        return cls(url, api_key or None)

    def headers(self) -> dict[str, str]:
        """Make the headers that every request carries."""
        headers = {"user-agent": f"groat-python/{__version__}", "accept": "application/json"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers
