"""Tokens of the host application: JWTs that name a user, verified against its published keys.

What a token says of how it is to be verified is not believed: the algorithms are these and no others, the keys those of
the configured set, whatever `alg`, `jku`, `jwk` or `x5u` say. What the user may do is read from the database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from groat_server.core.text import is_safe
from groat_server.errors import Busy, Unauthorized

if TYPE_CHECKING:
    from groat_server.settings import JwtSettings

ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""What a token may be signed with, and the kind of key of each. None of them takes a shared secret."""

LEEWAY_SECONDS = 30
KEYS_BYTES_MAX = 256 * 2**10
RSA_BITS_MIN = 2048
_FETCH_SECONDS = 5.0
_FRESH_SECONDS = 600.0
_STALE_SECONDS = 3600.0
_BETWEEN_READINGS_SECONDS = 10.0
_TOKEN_LENGTH_MAX = 8192
_NAME_LENGTH_MAX = 320
_RETRY_AFTER = {"Retry-After": "5"}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError, httpx2.HTTPError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """A public key, and what it may have signed with."""

    public: Any
    algorithms: frozenset[str]


_Keys = Mapping[str | None, _Key]


class JwtVerifier:
    """Verifies tokens, and keeps the keys: fresh for ten minutes, used for an hour where no newer ones can be had."""

    def __init__(self, settings: JwtSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.user_by = settings.user_by
        self._clock = clock
        self._settings = settings
        self._keys: _Keys = {}
        self._read_at = self._tried_at = -_STALE_SECONDS
        self._reading = asyncio.Lock()

    @staticmethod
    def takes(token: str) -> bool:
        """Tell whether this can be a JWT, which has three parts; ours have no dot."""
        return token.count(".") == 2  # noqa: PLR2004 - header, payload, signature

    async def user_named_by(self, token: str) -> str:
        """Return what a valid token calls its user. Raises Unauthorized, and Busy where there are no keys."""
        try:
            if len(token) > _TOKEN_LENGTH_MAX:
                raise jwt.InvalidTokenError
            header = jwt.get_unverified_header(token)
            key = await self._key(header)
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=sorted(key.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthorized("The token is not valid here.") from error
        return self._name(claims)

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims["sub"] if self.user_by == "external_id" else claims.get("email")
        is_unverified = self.user_by == "email" and claims.get("email_verified") is not True
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_LENGTH_MAX or not is_safe(name) or is_unverified:
            raise Unauthorized("The token names nobody.")
        return name

    async def _key(self, header: Mapping[str, Any]) -> _Key:
        """Return the key that a token must be signed with. Raises InvalidKeyError where there is none for it."""
        name = header.get("kid")
        key = (await self._current_keys(name)).get(name) if name is None or isinstance(name, str) else None
        if key is None:
            raise jwt.InvalidKeyError
        return key

    async def _current_keys(self, wanted: str | None) -> _Keys:
        """Return the keys, read anew where they are old or do not have the one that is wanted.

        Somebody else's reading is waited for only by who has no use for the keys that are there: a flood of tokens
        with unknown keys neither delays others nor reads more often than once in ten seconds.
        """
        age = self._clock() - self._read_at
        if wanted in self._keys and (age < _FRESH_SECONDS or (age < _STALE_SECONDS and self._reading.locked())):
            return self._keys
        async with self._reading:
            now = self._clock()
            if now - self._tried_at > _BETWEEN_READINGS_SECONDS:
                self._tried_at = now
                try:
                    self._keys, self._read_at = _parsed(await self._read()), now
                except (*_UNREADABLE, jwt.PyJWTError) as error:
                    _log.warning("the keys for JWTs could not be read: %s", type(error).__name__)
            if now - self._read_at > _STALE_SECONDS:
                raise Busy("The keys to verify this token cannot be had; try again.", headers=_RETRY_AFTER)
            return self._keys

    async def _read(self) -> bytes:
        source = self._settings.keys
        if "://" not in source:
            return await asyncio.to_thread(_read_file, Path(source))
        async with asyncio.timeout(_FETCH_SECONDS), httpx2.AsyncClient(trust_env=False) as client:
            content = b""
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            async with client.stream("GET", source, headers=headers) as response:
                if response.status_code != httpx2.codes.OK:
                    raise ValueError(response.status_code)
                async for chunk in response.aiter_raw():
                    content += chunk
                    _check_size(content)
            return content


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(KEYS_BYTES_MAX + 1)
    _check_size(content)
    return content


def _check_size(content: bytes) -> None:
    if len(content) > KEYS_BYTES_MAX:
        raise ValueError("too many keys")


def _parsed(content: bytes) -> _Keys:
    """Return the usable keys of a JWKS by their names; one alone needs no name."""
    found = [(each.get("kid"), _key_of(each)) for each in json.loads(content)["keys"] if isinstance(each, dict)]
    keys: dict[str | None, _Key] = {name: key for name, key in found if key is not None}
    if len(found) == 1 and keys:
        keys[None] = next(iter(keys.values()))
    return keys


def _key_of(described: Mapping[str, Any]) -> _Key | None:
    """Return a key for signatures; None for one of another use or kind, or too weak."""
    stated = described.get("alg")
    algorithms = frozenset(
        name for name, kind in ALGORITHMS.items() if kind == described.get("kty") and stated in {None, name}
    )
    if not algorithms or described.get("use", "sig") != "sig":
        return None
    public = {name: described[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in described}
    try:
        key = jwt.PyJWK(public, algorithm=min(algorithms)).key
    except jwt.PyJWTError:
        return None
    is_weak = isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN
    is_other_curve = isinstance(key, EllipticCurvePublicKey) and key.curve.name != "secp256r1"
    return None if is_weak or is_other_curve else _Key(key, algorithms)
