"""The other formats that providers speak: Anthropic's messages, and OpenAI's responses."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from graphql_app import CompletionError, ReplyErrorCode
from graphql_app.completions import model as model_module
from graphql_app.completions.model import model_completion
from graphql_app.messages import Message, Role, Status, Usage
from tests.chats import settled
from tests.faults import leaking_nothing
from tests.providers import Answer, Exchange, ScriptedProvider, scripted_provider

Event = Mapping[str, Any]


def streaming(*events: Event) -> Answer:
    """A stream of events that have their type in a line of its own, too."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        for number, event in enumerate(events):
            data = json.dumps({**event, "sequence_number": number})
            await exchange.body(f"event: {event['type']}\ndata: {data}\n\n".encode())
        await exchange.end()

    return answer


# Anthropic.

MESSAGE_START: Event = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-scripted-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    },
}
OVERLOADED: Event = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
}


def block(index: int, kind: str, text: str) -> list[Event]:
    field = {"text": "text", "thinking": "thinking"}[kind]
    empty = {"type": kind, field: "", **({"signature": ""} if kind == "thinking" else {})}
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": f"{kind}_delta", field: text},
        },
        {"type": "content_block_stop", "index": index},
    ]


def message_end(reason: str) -> list[Event]:
    return [
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": 12},
        },
        {"type": "message_stop"},
    ]


HELLO = [MESSAGE_START, *block(0, "text", "Hello")]

# OpenAI's responses.

RESPONSE: Event = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_780_000_000,
    "model": "gpt-scripted-1",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "status": "in_progress",
}
TOKENS: Event = {
    "input_tokens": 9,
    "output_tokens": 12,
    "total_tokens": 21,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
CREATED: Event = {"type": "response.created", "response": RESPONSE}


def item(index: int, *texts: str) -> list[Event]:
    id = f"msg_{index}"
    begun = {
        "type": "message",
        "id": id,
        "role": "assistant",
        "content": [],
        "status": "in_progress",
    }
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        *(
            {
                "type": "response.output_text.delta",
                "item_id": id,
                "output_index": index,
                "content_index": 0,
                "delta": text,
                "logprobs": [],
            }
            for text in texts
        ),
    ]


def response_end(status: str, **more: Any) -> Event:
    response = {**RESPONSE, "status": status, "usage": TOKENS, **more}
    return {"type": f"response.{status}", "response": response}


# Both.


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedProvider]:
    monkeypatch.setattr(model_module, "RETRY_SECONDS", (0.01,))
    monkeypatch.setenv("OPENAI_API_KEY", "none-at-all")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none-at-all")
    with leaking_nothing():
        async with scripted_provider() as provider:
            monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
            monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url.removesuffix("/v1"))
            yield provider
            await provider.until_idle()
        await settled()


async def answer(name: str) -> tuple[str, list[Usage], CompletionError | None]:
    """The text, the usage, and the failure if there is one."""
    text, usages = "", list[Usage]()
    question = Message("m", "c", Role.USER, "Hi", Status.DONE, datetime(2026, 1, 1, tzinfo=UTC))
    async with model_completion(name, system_prompt="Be brief.") as completion:
        try:
            async with aclosing(completion([question])) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        text += piece
                    else:
                        usages.append(piece)
        except CompletionError as error:
            return text, usages, error
    return text, usages, None


WHOLE: dict[str, tuple[str, list[Event], str, str]] = {
    "Anthropic": (
        "anthropic:claude-scripted",
        [
            MESSAGE_START,
            *block(0, "thinking", "They greet."),
            *block(1, "text", "Hello"),
            *block(2, "text", " there."),
            *message_end("end_turn"),
        ],
        "Hello there.",
        "claude-scripted-1",
    ),
    "OpenAI": (
        "openai-responses:gpt-scripted",
        [
            CREATED,
            *item(0, "Let me", " see."),
            *item(1, "Hello", " there."),
            response_end("completed"),
        ],
        "Let me see.\n\nHello there.",
        "gpt-scripted-1",
    ),
}


@pytest.mark.parametrize(("name", "events", "text", "model"), WHOLE.values(), ids=WHOLE.keys())
async def test_an_answer_arrives_with_the_model_and_the_tokens(
    provider: ScriptedProvider, name: str, events: list[Event], text: str, model: str
) -> None:
    provider.will(streaming(*events))
    said, usages, failure = await answer(name)
    assert (said, failure) == (text, None)
    assert usages[0] == Usage(model=name.partition(":")[2])
    assert (usages[-1].input_tokens, usages[-1].output_tokens) == (9, 12)
    assert len(provider.requests) == 1


BROKEN: dict[str, tuple[str, list[Event], str, ReplyErrorCode]] = {
    "Anthropic, half": (
        "anthropic:claude-scripted",
        HELLO,
        "Hello",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "Anthropic, overloaded": (
        "anthropic:claude-scripted",
        [*HELLO, OVERLOADED],
        "Hello",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "Anthropic, refused": (
        "anthropic:claude-scripted",
        [*HELLO, *message_end("refusal")],
        "Hello",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "Anthropic, too long": (
        "anthropic:claude-scripted",
        [*HELLO, *message_end("max_tokens")],
        "Hello",
        ReplyErrorCode.REPLY_TOO_LONG,
    ),
    "OpenAI, half": (
        "openai-responses:gpt-scripted",
        [CREATED, *item(0, "Hello")],
        "Hello",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "OpenAI, failed": (
        "openai-responses:gpt-scripted",
        [
            CREATED,
            *item(0, "Hello"),
            response_end("failed", error={"code": "server_error", "message": "It failed."}),
        ],
        "Hello",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "OpenAI, refused": (
        "openai-responses:gpt-scripted",
        [
            CREATED,
            *item(0, "Hello"),
            response_end("incomplete", incomplete_details={"reason": "content_filter"}),
        ],
        "Hello",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "OpenAI, too long": (
        "openai-responses:gpt-scripted",
        [
            CREATED,
            *item(0, "Hello"),
            response_end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        ],
        "Hello",
        ReplyErrorCode.REPLY_TOO_LONG,
    ),
}


@pytest.mark.parametrize(("name", "events", "text", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_is_not_whole_has_a_face(
    provider: ScriptedProvider, name: str, events: list[Event], text: str, code: ReplyErrorCode
) -> None:
    provider.will(streaming(*events))
    said, _, failure = await answer(name)
    assert said == text
    assert failure is not None
    assert failure.code is code
    assert len(provider.requests) == 1


async def test_an_overload_before_the_first_word_is_tried_again(
    provider: ScriptedProvider,
) -> None:
    provider.will(streaming(MESSAGE_START, OVERLOADED), streaming(*HELLO, *message_end("end_turn")))
    assert (await answer("anthropic:claude-scripted"))[::2] == ("Hello", None)
    assert len(provider.requests) == 2
    assert provider.requests[1].body["system"][0]["text"] == "Be brief."
