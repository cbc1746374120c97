"""The sample data: fifty invented people and ninety days of what they do, drawn from a fixed seed relative to `now`.

Nothing here is stored or priced. The same `now` gives the same people and the same uses, to the microsecond.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from groat_server.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WINDOW = timedelta(days=90)
MAIN_EMAIL, ADMIN_EMAIL = "user@example.com", "admin@example.com"
MAIN_AGE = timedelta(days=200)
"""How long before `now` the main user was created, exactly: a load that broke off finds its `now` by it."""
FIRST_KEY, LAST_KEY = "sample-first", "sample-last"
"""Keys of the first and the last of all uses, both the main user's."""
IMAGE_CREDITS, TRANSCRIPTION_CREDITS = Decimal("0.4"), Decimal("0.03")
"""Credits of an image, and of a minute of transcription."""

_SEED = 20
_EVENTS = 12_300
_LAST_HOUR_EVENTS = 24
_DORMANT, _SPIKING, _OVERDRAWN = 9, 14, 17  # positions among the people
_DEMO = (11, 23, 37, 46)
_RICH, _POOR = (6, 12, 31), (13, _OVERDRAWN, 21, 28, 40)  # allowances of 500 and of 50
_HOUR = timedelta(hours=1)
_BY_HOUR = (2, 1, 1, 1, 1, 2, 4, 9, 16, 20, 21, 19, 15, 18, 21, 20, 18, 14, 10, 8, 7, 6, 5, 3)
"""How busy each hour of a UTC day is."""
_WEEKEND = 0.35
_GROWTH = 2.0  # the last day is this much busier than the first, and once more

_NAMES = """John Doe, Ada Lindqvist, Mateo Fuentes, Priya Raman, Noah Whitfield, Yuki Tanabe, Lena Hoffmann,
Kwame Mensah,
Chloe Marchand, Ivan Petrov, Zara Siddiqui, Tom Beckett, Ingrid Solberg, Diego Navarro, Mei Zhang, Oliver Grant,
Fatima Benali, Marek Kowalski, Hannah Weiss, Samuel Adeyemi, Elena Rossi, Ravi Iyer, Grace Kelleher, Lucas Almeida,
Sofia Nilsson, Omar Haddad, Nadia Volkova, Jack Thornton, Amara Nwosu, Felix Bauer, Camila Torres, Hiro Watanabe,
Emma Lacroix, Andre Silva, Leila Karimi, Peter Novak, Isla Murray, Daniel Cohen, Thandiwe Dube, Viktor Horvath,
Maya Krishnan, Liam Gallagher, Aylin Demir, Pablo Ortega, Freya Jensen, Minh Tran, Rosa Pereira, George Stavrou,
Alice Fontaine, Wei Chen"""

_DESCRIPTIONS = {
    "ai_chat_message": "AI chat message",
    "document_analysis": "Document analysis",
    "code_review": "Code review",
    "embedding": "Search index update",
    "agent_run": "Agent run",
    "image_generation": "Image generation",
    "transcription": "Meeting transcription",
}
_ACTIONS, _ACTION_WEIGHTS = tuple(_DESCRIPTIONS), (61, 9, 7, 12, 4, 4, 3)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model and how it is used: median tokens in and out, and how often it reads a cache or reasons."""

    name: str
    weight: int
    tokens: tuple[int, int]
    caches: float = 0.0
    reasons: float = 0.0
    provider: str | None = None


_MODELS = {
    "ai_chat_message": (
        _Model("gpt-4o-mini", 32, (1500, 420), caches=0.2),
        _Model("gpt-4o", 24, (1400, 430), caches=0.2),
        _Model("claude-3-5-sonnet", 24, (1300, 450), caches=0.25),
        _Model("claude-3-haiku", 10, (1000, 350)),
        _Model("gemini-1.5-pro", 6, (1500, 400)),
        _Model("deepseek-chat", 4, (1200, 500), caches=0.3),
    ),
    "document_analysis": (
        _Model("gemini-1.5-pro", 50, (9000, 600)),
        _Model("claude-3-5-sonnet", 30, (7000, 700), caches=0.6),
        _Model("gpt-4o", 20, (7000, 600), caches=0.5),
    ),
    "code_review": (
        _Model("claude-3-5-sonnet", 50, (3000, 500), caches=0.5),
        _Model("codestral-latest", 30, (2500, 400)),
        _Model("gpt-4.1", 20, (3000, 500), caches=0.4),
    ),
    "embedding": (
        _Model("text-embedding-3-small", 70, (1800, 0), provider="openai"),
        _Model("mistral-embed", 30, (1200, 0)),
    ),
    "agent_run": (
        _Model("o3-mini", 45, (6000, 2500), caches=0.5, reasons=1.0),
        _Model("claude-3-5-sonnet", 35, (8000, 1200), caches=0.8),
        _Model("gpt-4.1", 20, (7000, 1500), caches=0.6),
    ),
}
_COSTLY = _Model("claude-3-opus", 1, (32_000, 3200), caches=0.4)


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """One user of the sample data. `weight` is how much they do, `until` when they ceased."""

    email: str
    full_name: str
    created_at: datetime
    allowance: Decimal
    demo_mode: bool
    is_admin: bool
    weight: float
    until: datetime


def sample_people(now: datetime) -> list[SamplePerson]:
    """Return the people, the main user last."""
    random = Random(_SEED)  # noqa: S311 - the same people each time is the point
    names = [name.strip() for name in _NAMES.replace("\n", " ").split(",")]
    ranks = list(range(2, len(names)))
    random.shuffle(ranks)
    weights = [0.34, 0.16, *(rank**-0.85 for rank in ranks)]
    people = [_person(random, position, name, weights[position], now) for position, name in enumerate(names)]
    return [*people[1:], people[0]]


def _person(random: Random, position: int, name: str, weight: float, now: datetime) -> SamplePerson:
    # Two in three were there before the window begins; the dormant one and those with a story always were.
    is_early = position in {1, _DORMANT, _SPIKING, _OVERDRAWN} or random.random() < 0.65  # noqa: PLR2004 - two in three
    age = timedelta(days=random.uniform(92, 400) if is_early else random.uniform(3, 85))
    if position == _OVERDRAWN:
        age = timedelta(days=random.uniform(200, 202))  # its period is well under way
        weight = 0.05
    if position == 0:
        age = MAIN_AGE
    local_part = name.lower().replace(" ", ".")
    email = {0: MAIN_EMAIL, 1: ADMIN_EMAIL}.get(
        position
    ) or f"{local_part}@example.{random.choice(('com', 'org', 'net'))}"
    return SamplePerson(
        email=email,
        full_name=name,
        created_at=now - age,
        allowance=Decimal(500 if position in _RICH else 50 if position in _POOR else 100),
        demo_mode=position in _DEMO,
        is_admin=position == 1,
        weight=weight,
        until=now - timedelta(days=47) if position == _DORMANT else now,
    )


def sample_usages(now: datetime, user_ids: Mapping[str, int]) -> list[Usage]:
    """Return all uses in order of time; `user_ids` are those of the people who are tracked, by e-mail address."""
    random = Random(_SEED + 1)  # noqa: S311 - the same uses each time is the point
    people = [person for person in sample_people(now) if person.email in user_ids]
    main = people[-1]
    start = now - WINDOW
    times = [*_usual_times(random, people, now), *_last_hour(random, people, now)]
    usages = [
        draw_usage(random, user_ids[person.email], f"sample-{number:05d}", occurred_at)
        for number, (occurred_at, person) in enumerate(sorted(times, key=lambda each: each[0]), 1)
    ]
    usages += _stories(random, user_ids, now)
    for key, at in ((FIRST_KEY, start + timedelta(seconds=61)), (LAST_KEY, now - timedelta(seconds=7))):
        usages.append(_metered(random, user_ids[main.email], key, at, action_type="ai_chat_message"))
    return sorted(usages, key=lambda usage: usage.occurred_at or now)


def draw_usage(random: Random, user_id: int, key: str, occurred_at: datetime | None) -> Usage:
    """Draw one ordinary use."""
    (action_type,) = random.choices(_ACTIONS, _ACTION_WEIGHTS)
    if action_type in _MODELS:
        return _metered(random, user_id, key, occurred_at, action_type=action_type)
    is_image = action_type == "image_generation"
    return Usage(
        user_id=user_id,
        idempotency_key=key,
        action_type=action_type,
        quantity=None if is_image else Decimal(random.randint(2, 28)),
        description=_DESCRIPTIONS[action_type],
        occurred_at=occurred_at,
        backfill=occurred_at is not None,
    )


def _metered(
    random: Random,
    user_id: int,
    key: str,
    occurred_at: datetime | None,
    *,
    action_type: str,
    model: _Model | None = None,
) -> Usage:
    if model is None:
        models = _MODELS[action_type]
        (model,) = random.choices(models, [each.weight for each in models])
    # Long tails, as real prompts have them, but no single prompt beyond what the model reads.
    spread = min(random.lognormvariate(0, 0.7), 6.0)
    tokens_in = round(model.tokens[0] * spread)
    tokens_out = round(model.tokens[1] * min(random.lognormvariate(0, 0.6), 6.0))
    cached = round(tokens_in * random.uniform(0.3, 0.85)) if random.random() < model.caches else 0
    is_written = cached and random.random() < 0.3 and model.name.startswith("claude")  # noqa: PLR2004 - now and then
    return Usage(
        user_id=user_id,
        idempotency_key=key,
        action_type=action_type,
        model=model.name,
        provider=model.provider,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cache_read_tokens=0 if is_written else cached,
        cache_write_tokens=cached if is_written else 0,
        reasoning_tokens=round(tokens_out * random.uniform(0.4, 0.8)) if random.random() < model.reasons else 0,
        description=_DESCRIPTIONS[action_type],
        session_id=f"session-{random.getrandbits(32):08x}" if action_type in {"ai_chat_message", "agent_run"} else None,
        metadata={"steps": random.randint(2, 14)} if action_type == "agent_run" else None,
        occurred_at=occurred_at,
        backfill=occurred_at is not None,
    )


def _usual_times(
    random: Random, people: Sequence[SamplePerson], now: datetime
) -> Iterator[tuple[datetime, SamplePerson]]:
    """Draw who does something when: more by day, less on weekends, and more as the weeks go by."""
    start = now - WINDOW
    hours = int(WINDOW / _HOUR)
    busy = [0.0, *accumulate(_busyness(start + hour * _HOUR, hour / hours) for hour in range(hours))]
    spans = [(_position(busy, person.created_at - start), _position(busy, person.until - start)) for person in people]
    weights = [person.weight * (last - first) for person, (first, last) in zip(people, spans, strict=True)]
    for index in random.choices(range(len(people)), weights, k=_EVENTS):
        mass = random.uniform(*spans[index])
        hour = min(bisect(busy, mass), hours) - 1
        part = (mass - busy[hour]) / (busy[hour + 1] - busy[hour])
        offset = timedelta(microseconds=int((hour + part) * 3_600_000_000))
        yield min(start + offset + timedelta(seconds=70), now - timedelta(minutes=1)), people[index]


def _busyness(at: datetime, progress: float) -> float:
    return _BY_HOUR[at.hour] * (_WEEKEND if at.weekday() > 4 else 1.0) * (1 + _GROWTH * progress)  # noqa: PLR2004 - Friday


def _position(busy: Sequence[float], since_start: timedelta) -> float:
    """Return how much of all busyness lies before an instant."""
    hours = min(max(since_start / _HOUR, 0.0), len(busy) - 1.0)
    whole = min(int(hours), len(busy) - 2)
    return busy[whole] + (busy[whole + 1] - busy[whole]) * (hours - whole)


def _last_hour(
    random: Random, people: Sequence[SamplePerson], now: datetime
) -> Iterator[tuple[datetime, SamplePerson]]:
    active = [person for person in people if person.until == now]
    for person in random.choices(active, [person.weight for person in active], k=_LAST_HOUR_EVENTS):
        yield now - timedelta(seconds=random.uniform(15, 3300)), person


def _stories(random: Random, user_ids: Mapping[str, int], now: datetime) -> Iterator[Usage]:
    """Draw what stands out: one user's agents ran away one night, one is overdrawn, and some runs cost a lot."""
    emails = [person.email for person in sample_people(now)]
    spiking, overdrawn = user_ids[emails[_SPIKING - 1]], user_ids[emails[_OVERDRAWN - 1]]
    night = now - timedelta(days=12, hours=4)
    for number in range(160):
        at = night + timedelta(seconds=random.uniform(0, 5400))
        yield _metered(
            random, spiking, f"sample-spike-{number}", at, action_type="agent_run", model=_MODELS["agent_run"][0]
        )
    for number in range(10):
        at = now - timedelta(days=random.uniform(0.3, 9))
        yield _metered(random, overdrawn, f"sample-costly-{number}", at, action_type="agent_run", model=_COSTLY)
    others = sorted(user_ids[email] for email in emails if email in user_ids)
    for number, user_id in enumerate(random.sample(others, 6)):
        at = now - timedelta(days=random.uniform(0.2, 20))
        yield _metered(random, user_id, f"sample-large-{number}", at, action_type="document_analysis", model=_COSTLY)
