"""Tokens of the host application: what is signed by its keys names a user, and nothing else does."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from groat_server.errors import Busy, CannotStart, Unauthorized
from groat_server.http.jwt import KEYS_BYTES_MAX, JwtVerifier
from groat_server.settings import JwtSettings, read_settings
from tests.http.api import Api, new_key
from tests.operations.ledgers import ask
from tests.services import on_ledger, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from groat_server.database import Address

ISSUER, AUDIENCE = "https://login.example.com/", "groat"
MINE = "/api/v1/me/credits"
OVERVIEW = "/api/v1/admin/credits/overview"


def _encoded(value: object) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Issuer:
    """A host application: its private keys by name, and the JWKS that it publishes."""

    private: dict[str, Any] = field(
        default_factory=lambda: {
            "rsa": rsa.generate_private_key(65537, 2048),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }
    )

    def jwks(self, *names: str) -> bytes:
        """Return the published keys."""
        algorithms = {"rsa": jwt.algorithms.RSAAlgorithm, "ec": jwt.algorithms.ECAlgorithm}
        described = []
        for name in names or self.private:
            algorithm: Any = algorithms.get(name.partition("-")[0], jwt.algorithms.OKPAlgorithm)
            described.append({**algorithm.to_jwk(self.private[name].public_key(), as_dict=True), "kid": name})
        return json.dumps({"keys": described}).encode()

    def token(self, subject: str, *, key: str = "rsa", algorithm: str = "RS256", **claims: object) -> str:
        """Sign a token; a claim that is None is left out, `headers` are added."""
        now = int(time.time())
        headers: dict[str, Any] = {"kid": key, **claims.pop("headers", {})}  # type: ignore[dict-item] # a dictionary
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 300, **claims}
        payload = {name: value for name, value in said.items() if value is not None}
        kept = {name: value for name, value in headers.items() if value is not None}
        return jwt.encode(payload, self.private[key], algorithm=algorithm, headers=kept)


@dataclass
class Published:
    """A server of a JWKS on loopback: what it answers, how it delays that, how often it was asked."""

    url: str
    content: bytes
    status: int = 200
    asked: int = 0
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def publishing(content: bytes) -> Iterator[Published]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked += 1
            published.gate.wait(30)
            self.send_response(published.status)
            self.send_header("Location", published.url + "elsewhere")
            self.end_headers()
            self.wfile.write(published.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published = Published(f"http://127.0.0.1:{server.server_port}/", content)
        published.gate.set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield published
        finally:
            published.gate.set()
            server.shutdown()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Be a host application with keys."""
    return Issuer()


@pytest.fixture(scope="module")
def api(issuer: Issuer, shared_ledger: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Run a service that takes the host application's tokens; lend an administrator's client of it."""
    directory = tmp_path_factory.mktemp("jwt")
    with publishing(issuer.jwks()) as published:
        named = {"GROAT_JWT_ISSUER": ISSUER, "GROAT_JWT_AUDIENCE": AUDIENCE, "GROAT_JWT_JWKS": published.url}
        service = start(["serve"], {**on_ledger(shared_ledger), **named}, directory / "service.log")
        try:
            service.wait_until_ready()
            with Api.as_admin(service.url, shared_ledger) as client:
                yield client
        finally:
            service.stop()


@pytest.fixture(scope="module")
def person(api: Api) -> tuple[str, str]:
    """Create a user whom the host application knows; returns the address and its own id."""
    own_id = new_key()
    return api.new_user(external_id=own_id), own_id


@pytest.mark.parametrize(("key", "algorithm"), [("rsa", "RS256"), ("rsa", "PS256"), ("ec", "ES256"), ("ed", "EdDSA")])
def test_a_token_of_the_host_application_is_its_users(
    api: Api, issuer: Issuer, person: tuple[str, str], key: str, algorithm: str
) -> None:
    email, own_id = person
    client = api.with_token(issuer.token(own_id, key=key, algorithm=algorithm, aud=["other", AUDIENCE]))
    assert client.get(MINE).body["email"] == email
    assert client.get(OVERVIEW).status == 403
    assert client.charge(email).status == 403
    assert api.get(MINE).status == 200  # our own tokens work beside


def test_rights_are_those_of_the_database_whatever_the_token_says(
    api: Api, issuer: Issuer, shared_ledger: Address
) -> None:
    own_id = new_key()
    email = api.new_user(external_id=own_id)
    client = api.with_token(issuer.token(own_id, is_admin=True, scope="admin", role="admin"))
    assert client.get(OVERVIEW).status == 403
    ask(shared_ledger, "UPDATE users SET is_admin = true WHERE email = %s", [email])
    assert client.get(OVERVIEW).status == 200
    user = client.new_user()
    (act,) = client.get("/api/v1/admin/audit", user=user).body["acts"]
    number = client.get(f"/api/v1/admin/users/{email}").body["user"]["id"]
    assert act["actor"] == f"user:{number}"
    ask(shared_ledger, "UPDATE users SET is_admin = false WHERE email = %s", [email])
    assert client.get(OVERVIEW).status == 403
    assert api.post(f"/api/v1/admin/users/{email}/anonymise", {"confirm": number}).status == 200
    assert client.get(MINE).status == 401


def _forgeries(issuer: Issuer, own_id: str) -> dict[str, str]:
    """Return tokens each of which is good but for one thing."""
    now = int(time.time())
    public = (
        issuer.private["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    good = issuer.token(own_id)
    head, body, signature = good.split(".")
    others = Issuer()
    jwk = json.loads(others.jwks("rsa"))["keys"][0]
    theirs = jwt.encode({"sub": "x"}, others.private["rsa"], algorithm="RS256").split(".")[2]

    def signed_by_secret(secret: bytes) -> str:
        import hmac  # noqa: PLC0415 - PyJWT refuses to make such a token

        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{body}"
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"

    return {
        "no algorithm": f"{_encoded({'alg': 'none', 'kid': 'rsa'})}.{body}.",
        "no algorithm, other case": f"{_encoded({'alg': 'NoNe', 'kid': 'rsa'})}.{body}.{signature}",
        "HS256 with the public key": signed_by_secret(public),
        "HS256 with nothing": signed_by_secret(b""),
        "no signature": f"{head}.{body}.",
        "another's signature": f"{head}.{body}.{theirs}",
        "another body": f"{head}.{issuer.token('another').split('.')[1]}.{signature}",
        "another's key of the same name": others.token(own_id),
        "a key in the token": others.token(own_id, headers={"jwk": jwk}),
        "a key elsewhere": others.token(own_id, headers={"jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}),
        "an unknown key": issuer.token(own_id, headers={"kid": "unknown"}),
        "a key's name that is none": issuer.token(own_id, headers={"kid": "../../etc/passwd"}),
        "no key's name": issuer.token(own_id, headers={"kid": None}),
        "a key of another kind": issuer.token(own_id, key="rsa", headers={"kid": "ec"}),
        "an algorithm that is not listed": issuer.token(own_id, algorithm="RS512"),
        "a critical header": issuer.token(own_id, headers={"crit": ["exp"], "exp": 1}),
        "another audience": issuer.token(own_id, aud="others"),
        "no audience": issuer.token(own_id, aud=None),
        "another issuer": issuer.token(own_id, iss=ISSUER.rstrip("/")),
        "no issuer": issuer.token(own_id, iss=None),
        "expired": issuer.token(own_id, exp=now - 40),
        "no expiry": issuer.token(own_id, exp=None),
        "an expiry that is text": issuer.token(own_id, exp="never"),
        "issued in the future": issuer.token(own_id, iat=now + 90),
        "not valid yet": issuer.token(own_id, nbf=now + 90),
        "no subject": issuer.token(own_id, sub=None),
        "nobody": issuer.token("nobody"),
        "an empty name": issuer.token(""),
        "a name with NUL": issuer.token(f"{own_id}\0"),
        "too long": issuer.token(own_id, more="x" * 10_000),
        "no base64": "a.b.c",
        "no parts": "..",
        "nested": f"{_encoded(b'[' * 5000)}.{body}.{signature}",
    }


def test_whatever_is_not_quite_right_is_nobodys(api: Api, issuer: Issuer, person: tuple[str, str]) -> None:
    """Taken out, one by one: the algorithms of a key, `audience`, `issuer`, `require`; then one of these gets in."""
    email, own_id = person
    assert api.with_token(issuer.token(own_id)).get(MINE).body["email"] == email
    for name, token in _forgeries(issuer, own_id).items():
        assert api.with_token(token).get(MINE).code == (401, "unauthorized"), name


def test_clocks_may_differ_by_half_a_minute(api: Api, issuer: Issuer, person: tuple[str, str]) -> None:
    now = int(time.time())
    assert api.with_token(issuer.token(person[1], exp=now - 10)).get(MINE).status == 200
    assert api.with_token(issuer.token(person[1], iat=now + 15, nbf=now + 15)).get(MINE).status == 200


# --- the keys ---------------------------------------------------------------------------------------------------------


def _verifier(keys: str, **changes: Any) -> JwtVerifier:
    settings = JwtSettings(issuer=ISSUER, audience=AUDIENCE, keys=keys, user_by=changes.pop("user_by", "external_id"))
    return JwtVerifier(settings, **changes)


def _verify(verifier: JwtVerifier, *tokens: str) -> list[str]:
    """Verify these tokens at once; returns whom each names, or the error's code."""

    async def one(token: str) -> str:
        try:
            return await verifier.user_named_by(token)
        except (Unauthorized, Busy) as error:
            return error.problem_code

    async def all_() -> list[str]:
        return list(await asyncio.gather(*map(one, tokens)))

    return asyncio.run(all_())


def test_keys_are_read_once_and_not_again_for_a_flood_of_unknown_ones(issuer: Issuer) -> None:
    """Taken out: `_BETWEEN_READINGS_SECONDS`; then each of these asks the host application."""
    with publishing(issuer.jwks()) as published:
        verifier = _verifier(published.url)
        assert _verify(verifier, *[issuer.token("me")] * 50) == ["me"] * 50
        assert published.asked == 1
        strange = [issuer.token("me", headers={"kid": f"{number}"}) for number in range(50)]
        assert _verify(verifier, *strange) == ["unauthorized"] * 50
        assert published.asked == 1


def test_a_new_key_is_found_and_a_withdrawn_one_is_not_taken(issuer: Issuer) -> None:
    clock = [1000.0]
    with publishing(issuer.jwks("rsa")) as published:
        verifier = _verifier(published.url, clock=lambda: clock[0])
        assert _verify(verifier, issuer.token("me"), issuer.token("me", key="ec", algorithm="ES256")) == [
            "me",
            "unauthorized",
        ]
        published.content = issuer.jwks("ec")
        clock[0] += 11
        assert _verify(verifier, issuer.token("me", key="ec", algorithm="ES256")) == ["me"]
        assert _verify(verifier, issuer.token("me")) == ["unauthorized"]
        published.status = 500
        clock[0] += 601
        assert _verify(verifier, issuer.token("me", key="ec", algorithm="ES256")) == ["me"]
        clock[0] += 3600
        assert _verify(verifier, issuer.token("me", key="ec", algorithm="ES256")) == ["busy"]


def test_who_has_a_known_key_does_not_wait_for_the_reading_of_others(issuer: Issuer) -> None:
    """Taken out: the first `if` of _current_keys; then the second token waits for the gate."""
    clock = [1000.0]
    with publishing(issuer.jwks()) as published:
        verifier = _verifier(published.url, clock=lambda: clock[0])

        async def run() -> None:
            assert await verifier.user_named_by(issuer.token("me")) == "me"
            published.gate.clear()
            clock[0] += 11
            stranger = asyncio.create_task(verifier.user_named_by(issuer.token("me", headers={"kid": "strange"})))
            while published.asked < 2:  # noqa: ASYNC110 - the other side is a thread
                await asyncio.sleep(0.001)
            assert await verifier.user_named_by(issuer.token("me")) == "me"
            assert not stranger.done()
            published.gate.set()
            with pytest.raises(Unauthorized):
                await stranger

        asyncio.run(run())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": 1}',
        b"[" * 100_000,
        b" " * (KEYS_BYTES_MAX + 1),
        b'{"keys": [null, 1, {}, {"kty": "oct", "k": "AAAA", "kid": "rsa"}, {"kty": "RSA", "kid": "rsa"}]}',
    ],
    ids=range(8),
)
def test_what_is_no_set_of_keys_lets_nobody_in(issuer: Issuer, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(content)
    with publishing(content) as published:
        for source in (published.url, str(file), str(tmp_path / "absent"), "http://127.0.0.1:9/"):
            assert _verify(_verifier(source), issuer.token("me"))[0] in {"busy", "unauthorized"}


def test_a_redirect_is_not_followed_and_a_file_does_as_well(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.jwks())
    assert _verify(_verifier(str(file)), issuer.token("me")) == ["me"]
    with publishing(issuer.jwks()) as published:
        published.status = 302
        assert _verify(_verifier(published.url), issuer.token("me")) == ["busy"]
        assert published.asked == 1


def _weak(issuer: Issuer, **changes: object) -> bytes:
    (key,) = json.loads(issuer.jwks("rsa"))["keys"]
    return json.dumps({"keys": [{**key, **changes}]}).encode()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_keys_for_something_else_or_too_weak_are_not_taken(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    short = Issuer({"rsa": rsa.generate_private_key(65537, 1024)})  # noqa: S505 - as a bad host would
    other = Issuer({"ec": ec.generate_private_key(ec.SECP384R1())})
    cases: list[tuple[bytes, Callable[[], str]]] = [
        (_weak(issuer, use="enc"), lambda: issuer.token("me")),
        (_weak(issuer, alg="PS256"), lambda: issuer.token("me")),
        (_weak(issuer, alg="RS512"), lambda: issuer.token("me")),
        (short.jwks(), lambda: short.token("me")),
    ]
    for content, token in cases:
        file.write_bytes(content)
        assert _verify(_verifier(str(file)), token()) == ["unauthorized"], content
    file.write_bytes(other.jwks())
    head = _encoded({"alg": "ES256", "kid": "ec"})
    assert _verify(_verifier(str(file)), f"{head}.e30.e30") == ["unauthorized"]
    file.write_bytes(_weak(issuer, alg="RS256"))
    nameless = issuer.token("me", headers={"kid": None})
    assert _verify(_verifier(str(file)), nameless, issuer.token("me")) == ["me", "me"]


def test_an_address_names_a_user_only_where_the_host_has_verified_it(issuer: Issuer, tmp_path: Path) -> None:
    """Taken out: `email_verified`; then whoever registers with another's address there is that user here."""
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.jwks())
    verifier = _verifier(str(file), user_by="email")
    claims: list[dict[str, Any]] = [
        {"email": "me@example.com", "email_verified": True},
        {"email": "me@example.com", "email_verified": False},
        {"email": "me@example.com", "email_verified": "true"},
        {"email": "me@example.com"},
        {"email_verified": True},
        {"email": ["me@example.com"], "email_verified": True},
    ]
    told = _verify(verifier, *(issuer.token("x", **said) for said in claims))
    assert told == ["me@example.com", *["unauthorized"] * 5]


# --- the settings -----------------------------------------------------------------------------------------------------

NAMED = {"GROAT_JWT_ISSUER": ISSUER, "GROAT_JWT_AUDIENCE": AUDIENCE, "GROAT_JWT_JWKS": "https://login.example.com/jwks"}


def test_the_settings_are_all_there_or_none() -> None:
    assert read_settings({}).jwt is None
    said = read_settings({**NAMED, "GROAT_JWT_USER": "email"}).jwt
    assert said == JwtSettings(issuer=ISSUER, audience=AUDIENCE, keys=NAMED["GROAT_JWT_JWKS"], user_by="email")
    for name in NAMED:
        with pytest.raises(CannotStart, match=name):
            read_settings({other: value for other, value in NAMED.items() if other != name})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"GROAT_JWT_JWKS": "http://login.example.com/jwks"}, "https"),
        ({"GROAT_JWT_JWKS": "ftp://login.example.com/jwks"}, "https"),
        ({"GROAT_JWT_USER": "name"}, "GROAT_JWT_USER"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(changes: Mapping[str, str], told: str) -> None:
    with pytest.raises(CannotStart, match=told):
        read_settings({**NAMED, **changes})
