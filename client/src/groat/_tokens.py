"""What providers say of the tokens of an answer, counted as the ledger counts: parts within their totals.

Some providers leave cached tokens out of the input, or thoughts out of the output; here they are added. Answers may be
the objects of a provider's SDK or plain mappings, whole or their usage alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class TokenCounts(TypedDict):
    """Tokens as `Groat.charge` and `Hold.capture` take them: `meter.charge(…, **tokens_of(answer))`."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int


_WHERE = ("usage", "usage_metadata", "usageMetadata")


def tokens_of(answer: object) -> TokenCounts:
    """Count the tokens of a provider's answer.

    Understood are OpenAI's chat completions and responses (and LiteLLM, Mistral and others that answer alike),
    Anthropic's messages, Amazon Bedrock's converse, Google's Gemini, and attributes by OpenTelemetry's conventions.
    Raises ValueError where there is no count, as in a stream that was asked for none.
    """
    usage = next((found for name in _WHERE if (found := _get(answer, name)) is not None), answer)
    if _has(usage, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
        return _open_telemetry(usage)
    if _has(usage, "prompt_tokens", "completion_tokens"):
        return _openai_chat(usage)
    if _has(usage, "inputTokens", "outputTokens"):
        return _bedrock(usage)
    if _has(usage, "promptTokenCount", "prompt_token_count"):
        return _gemini(usage)
    if _has(usage, "input_tokens", "output_tokens"):
        is_openai = _has(usage, "input_tokens_details", "output_tokens_details", "total_tokens")
        return _openai_responses(usage) if is_openai else _anthropic(usage)
    raise ValueError("this answer says nothing of its tokens")


def _openai_chat(usage: object) -> TokenCounts:
    return _counts(
        input_tokens=_number(usage, "prompt_tokens"),
        output_tokens=_number(usage, "completion_tokens"),
        cache_read=_number(_get(usage, "prompt_tokens_details"), "cached_tokens"),
        reasoning=_number(_get(usage, "completion_tokens_details"), "reasoning_tokens"),
    )


def _openai_responses(usage: object) -> TokenCounts:
    return _counts(
        input_tokens=_number(usage, "input_tokens"),
        output_tokens=_number(usage, "output_tokens"),
        cache_read=_number(_get(usage, "input_tokens_details"), "cached_tokens"),
        reasoning=_number(_get(usage, "output_tokens_details"), "reasoning_tokens"),
    )


def _anthropic(usage: object) -> TokenCounts:
    """Add what was read from the cache and written to it, which `input_tokens` leaves out."""
    read, write = _number(usage, "cache_read_input_tokens"), _number(usage, "cache_creation_input_tokens")
    return _counts(
        input_tokens=_number(usage, "input_tokens") + read + write,
        output_tokens=_number(usage, "output_tokens"),
        cache_read=read,
        cache_write=write,
    )


def _bedrock(usage: object) -> TokenCounts:
    """Count as for Anthropic."""
    read, write = _number(usage, "cacheReadInputTokens"), _number(usage, "cacheWriteInputTokens")
    return _counts(
        input_tokens=_number(usage, "inputTokens") + read + write,
        output_tokens=_number(usage, "outputTokens"),
        cache_read=read,
        cache_write=write,
    )


def _gemini(usage: object) -> TokenCounts:
    """Add to the prompt, which has its cached part within, that of tools; and to the candidates the thoughts."""
    thoughts = _number(usage, "thoughtsTokenCount", "thoughts_token_count")
    tools = _number(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    return _counts(
        input_tokens=_number(usage, "promptTokenCount", "prompt_token_count") + tools,
        output_tokens=_number(usage, "candidatesTokenCount", "candidates_token_count") + thoughts,
        cache_read=_number(usage, "cachedContentTokenCount", "cached_content_token_count"),
        reasoning=thoughts,
    )


def _open_telemetry(usage: object) -> TokenCounts:
    return _counts(
        input_tokens=_number(usage, "gen_ai.usage.input_tokens"),
        output_tokens=_number(usage, "gen_ai.usage.output_tokens"),
        cache_read=_number(usage, "gen_ai.usage.cache_read.input_tokens"),
        cache_write=_number(usage, "gen_ai.usage.cache_creation.input_tokens"),
        reasoning=_number(usage, "gen_ai.usage.reasoning.output_tokens"),
    )


def _counts(
    *, input_tokens: int, output_tokens: int, cache_read: int = 0, cache_write: int = 0, reasoning: int = 0
) -> TokenCounts:
    return TokenCounts(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
    )


def _get(holder: object, name: str) -> object:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _has(holder: object, *names: str) -> bool:
    return any(_get(holder, name) is not None for name in names)


def _number(holder: object, *names: str) -> int:
    """Return the first count of these names; what is absent or null is 0."""
    found = next((value for name in names if (value := _get(holder, name)) is not None), 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"{names[0]} is {found!r}, which is no count of tokens")
    return found
