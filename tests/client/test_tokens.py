"""Tokens as providers report them, against what the ledger takes: parts within their totals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from groat import tokens_of

# Bodies as the providers document them, and then: input, output, of which cache read, cache write, reasoning.
ANSWERS: list[tuple[str, dict[str, Any], tuple[int, int, int, int, int]]] = [
    (
        "OpenAI chat",
        {
            "object": "chat.completion",
            "usage": {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0},
            },
        },
        (2006, 300, 1920, 0, 256),
    ),
    ("Mistral", {"usage": {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50}}, (16, 34, 0, 0, 0)),
    (
        "OpenAI responses",
        {
            "object": "response",
            "usage": {
                "input_tokens": 75,
                "input_tokens_details": {"cached_tokens": 32},
                "output_tokens": 1186,
                "output_tokens_details": {"reasoning_tokens": 1024},
                "total_tokens": 1261,
            },
        },
        (75, 1186, 32, 0, 1024),
    ),
    (
        "Anthropic",
        {
            "type": "message",
            "usage": {
                "input_tokens": 50,
                "cache_creation_input_tokens": 248,
                "cache_read_input_tokens": 1800,
                "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
                "output_tokens": 503,
            },
        },
        (2098, 503, 1800, 248, 0),
    ),
    ("Anthropic without a cache", {"usage": {"input_tokens": 1000, "output_tokens": 500}}, (1000, 500, 0, 0, 0)),
    (
        "Bedrock",
        {
            "usage": {
                "inputTokens": 17,
                "outputTokens": 40,
                "totalTokens": 1081,
                "cacheReadInputTokens": 1000,
                "cacheWriteInputTokens": 24,
            }
        },
        (1041, 40, 1000, 24, 0),
    ),
    (
        "Gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 1200,
                "cachedContentTokenCount": 1000,
                "candidatesTokenCount": 80,
                "thoughtsTokenCount": 320,
                "toolUsePromptTokenCount": 5,
                "totalTokenCount": 1605,
            }
        },
        (1205, 400, 1000, 0, 320),
    ),
    (
        "OpenTelemetry",
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 180,
            "gen_ai.usage.cache_read.input_tokens": 50,
            "gen_ai.usage.cache_creation.input_tokens": 25,
        },
        (100, 180, 50, 25, 0),
    ),
]
NAMES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def as_object(value: object) -> object:
    """Return a body as an SDK's object has it: attributes in snake case where a name allows it."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(member) for name, member in value.items()})
    return value


@pytest.mark.parametrize(("body", "counts"), [answer[1:] for answer in ANSWERS], ids=[answer[0] for answer in ANSWERS])
def test_each_provider_is_counted_as_the_ledger_counts(body: dict[str, Any], counts: tuple[int, ...]) -> None:
    expected = dict(zip(NAMES, counts, strict=True))
    assert tokens_of(body) == expected
    assert tokens_of(as_object(body)) == expected
    usage = body.get("usage") or body.get("usageMetadata") or body
    assert tokens_of(usage) == expected
    assert expected["cache_read_tokens"] + expected["cache_write_tokens"] <= expected["input_tokens"]
    assert expected["reasoning_tokens"] <= expected["output_tokens"]


def test_details_that_are_null_are_none() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}
    assert tokens_of({"usage": usage})["cache_read_tokens"] == 0


@pytest.mark.parametrize("answer", [{}, {"usage": None}, None, "text", {"choices": []}])
def test_an_answer_without_counts_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="nothing of its tokens"):
        tokens_of(answer)


@pytest.mark.parametrize("count", [-1, 1.5, "7", True])
def test_what_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="no count of tokens"):
        tokens_of({"usage": {"input_tokens": count, "output_tokens": 1}})
