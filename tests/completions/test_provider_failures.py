"""A provider that misbehaves, over real sockets: how its failures look, and what is closed."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models import infer_model
from pydantic_ai.models.fallback import FallbackModel

from graphql_app import CompletionError, ReplyErrorCode
from graphql_app.chat import ChatService
from graphql_app.completions import model as model_module
from graphql_app.completions.failures import failure_in
from graphql_app.completions.model import ModelCompletion, model_completion
from graphql_app.limits import Limits
from graphql_app.messages import Message, Role, Status, Usage
from tests.chats import Client, running_chat, settled
from tests.faults import FaultyStore, leaking_nothing
from tests.providers import (
    Answer,
    Exchange,
    ScriptedProvider,
    breaking_off,
    chunk,
    closing,
    dripping,
    event,
    failing,
    hanging,
    resetting,
    saying,
    scripted_provider,
    stalling,
    then_error,
    then_garbage,
)

KEY = "sk-proj-4f5e6d7c8b9a0-secret"
PATIENCE_SECONDS = 10.0


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedProvider]:
    """A provider at whose address OpenAI's API is looked for; no connection may stay."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with leaking_nothing():
        async with scripted_provider() as provider:
            monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
            yield provider
            await provider.until_idle()
        await settled()  # The event loop closes the generators that libraries drop.


@pytest.fixture
async def completion(provider: ScriptedProvider) -> AsyncIterator[ModelCompletion]:
    async with model_completion("openai:scripted") as completion:
        yield completion


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a request that failed be repeated almost at once."""
    monkeypatch.setattr(model_module, "RETRY_SECONDS", (0.01, 0.01, 0.01))


TRIES = 1 + len(model_module.RETRY_SECONDS)


def message(content: str, role: Role = Role.USER) -> Message:
    return Message("m", "c", role, content, Status.DONE, datetime(2026, 1, 1, tzinfo=UTC))


async def read(completion: ModelCompletion, *contents: str) -> tuple[list[str], list[Usage]]:
    """What a completion yields, text and usage."""
    texts, usages = list[str](), list[Usage]()
    history = [message(content) for content in contents or ("Hi",)]
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(completion(history)) as pieces:
        async for piece in pieces:
            texts.append(piece) if isinstance(piece, str) else usages.append(piece)
    return texts, usages


async def outcome(completion: ModelCompletion) -> tuple[str, CompletionError | None]:
    """The text that a completion yields, and its failure if there is one."""
    text = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), aclosing(completion([message("Hi")])) as said:
            async for piece in said:
                text += piece if isinstance(piece, str) else ""
    except CompletionError as error:
        return text, error
    return text, None


async def failure(completion: ModelCompletion) -> tuple[str, CompletionError]:
    """The text that comes before a completion fails, and the failure."""
    text, error = await outcome(completion)
    assert error is not None, f"the completion said {text!r}, and did not fail"
    return text, error


# An answer.


async def test_an_answer_arrives_with_the_model_and_the_tokens(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    provider.will(saying(" \nHel", "lo", "", " there. ", "😀\n", usage=(11, 4)))
    texts, usages = await read(completion)
    assert texts == [" \nHel", "lo", " there. ", "😀\n"]
    assert usages == [
        Usage(model="scripted"),
        Usage(model="scripted-2026"),
        Usage(model="scripted-2026", input_tokens=11, output_tokens=4),
    ]


async def test_a_server_that_counts_no_tokens_leaves_them_unknown(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    provider.will(saying("Hello", usage=None))
    texts, usages = await read(completion)
    assert texts == ["Hello"]
    assert usages[-1] == Usage(model="scripted-2026")


async def test_the_conversation_arrives_in_order_behind_the_system_prompt(
    provider: ScriptedProvider,
) -> None:
    async with model_completion("openai:scripted", system_prompt="Be brief.") as completion:
        history = [
            message("One"),
            message("Half an ans", Role.ASSISTANT),
            message("Two"),
            message("Three"),
        ]
        async with aclosing(completion(history)) as pieces:
            assert [piece async for piece in pieces]
    assert provider.requests[0].messages == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "Half an ans"),
        ("user", "Two"),
        ("user", "Three"),
    ]
    assert provider.requests[0].path == "/v1/chat/completions"
    assert provider.requests[0].body["model"] == "scripted"


@pytest.mark.parametrize("size", [1, 2, 3, 1_000_000])
async def test_bytes_may_be_cut_anywhere_on_their_way(
    provider: ScriptedProvider, completion: ModelCompletion, size: int
) -> None:
    texts = ["Grüße, ", "日本", "語 👩\u200d👩\u200d👧\u200d👦", "\n", "."]
    provider.will(dripping(*texts, size=size))
    assert (await read(completion))[0] == texts


async def test_a_huge_delta_arrives_whole(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    text = "All work and no play. 日本語 " * 30_000
    provider.will(saying(text))
    assert (await read(completion))[0] == [text]


async def test_a_delta_is_yielded_while_the_next_one_is_under_way(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    more = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.say("First")
        await more.wait()
        await exchange.say(", second")
        await exchange.finish()

    provider.will(slowly)
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(completion([message("Hi")])) as pieces:
        assert await anext(text async for text in pieces if isinstance(text, str)) == "First"
        more.set()
        assert [text async for text in pieces if isinstance(text, str)] == [", second"]


async def test_thoughts_that_a_server_sends_apart_are_no_text(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    async def thinking(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.event(chunk({"reasoning_content": "Let me see."}))
        await exchange.say("Four.")
        await exchange.finish()

    provider.will(thinking)
    assert (await read(completion))[0] == ["Four."]


# Failures have faces.

FOR_GOOD: dict[str, tuple[Answer, str, ReplyErrorCode]] = {
    "wrong key": (
        failing(401, code="invalid_api_key", message=f"Incorrect API key provided: {KEY}."),
        "",
        ReplyErrorCode.COMPLETION_UNAUTHORIZED,
    ),
    "forbidden": (failing(403), "", ReplyErrorCode.COMPLETION_UNAUTHORIZED),
    "unknown model": (
        failing(404, code="model_not_found"),
        "",
        ReplyErrorCode.COMPLETION_MODEL_NOT_FOUND,
    ),
    "quota": (
        failing(429, code="insufficient_quota", type="insufficient_quota"),
        "",
        ReplyErrorCode.COMPLETION_QUOTA_EXCEEDED,
    ),
    "payment required": (failing(402), "", ReplyErrorCode.COMPLETION_QUOTA_EXCEEDED),
    "asked to wait for too long": (
        failing(429, code="rate_limit_exceeded", headers={"Retry-After": "60"}),
        "",
        ReplyErrorCode.COMPLETION_RATE_LIMITED,
    ),
    "asked not to repeat": (
        failing(503, headers={"x-should-retry": "false"}),
        "",
        ReplyErrorCode.COMPLETION_UNREACHABLE,
    ),
    "filtered question": (
        failing(400, code="content_filter"),
        "",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "policy": (
        failing(400, code="invalid_prompt", message="It violates our usage policies."),
        "",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "filtered answer": (
        saying("Take some", finish_reason="content_filter"),
        "Take some",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "too long for OpenAI": (
        failing(400, code="context_length_exceeded"),
        "",
        ReplyErrorCode.COMPLETION_INPUT_TOO_LONG,
    ),
    "too long for vLLM": (
        failing(400, message="This model's maximum context length is 4096 tokens."),
        "",
        ReplyErrorCode.COMPLETION_INPUT_TOO_LONG,
    ),
    "too long for llama.cpp": (
        failing(
            400,
            type="exceed_context_size_error",
            message="request (3000 tokens) exceeds the available context size (2048 tokens)",
        ),
        "",
        ReplyErrorCode.COMPLETION_INPUT_TOO_LONG,
    ),
    "too large": (failing(413), "", ReplyErrorCode.COMPLETION_INPUT_TOO_LONG),
    "bad request": (failing(400), "", ReplyErrorCode.COMPLETION_FAILED),
    "bad request for a word": (
        failing(400, message="The parameter 'moderation' is unknown."),
        "",
        ReplyErrorCode.COMPLETION_FAILED,
    ),
    "moderated": (
        failing(400, code="moderation_blocked"),
        "",
        ReplyErrorCode.COMPLETION_REFUSED,
    ),
    "redirected": (
        failing(307, headers={"Location": "/elsewhere"}),
        "",
        ReplyErrorCode.COMPLETION_FAILED,
    ),
    "the model's own limit": (
        saying("Once upon", finish_reason="length"),
        "Once upon",
        ReplyErrorCode.REPLY_TOO_LONG,
    ),
    "half an answer": (
        breaking_off("Once upon"),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "half an answer, in order": (
        breaking_off("Once upon", in_order=True),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "an error in the middle": (
        then_error("Once upon", error={"message": "It failed.", "type": "server_error"}),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "an unknown error in the middle": (
        then_error("Once upon", error={"message": "It failed."}),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "a rate limit in the middle": (
        then_error("Once upon", error={"message": "Slow.", "code": "rate_limit_exceeded"}),
        "Once upon",
        ReplyErrorCode.COMPLETION_RATE_LIMITED,
    ),
    "no JSON in the middle": (
        then_garbage("Once upon"),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "no UTF-8 in the middle": (
        then_garbage("Once upon", garbage=b"data: \xff\n\n"),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "no object in the middle": (
        then_garbage("Once upon", garbage=b"data: 42\n\n"),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "no chunk in the middle": (
        then_garbage("Once upon", garbage=b'data: {"choices": "none", "model": 3}\n\n'),
        "Once upon",
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "no JSON": (then_garbage(), "", ReplyErrorCode.COMPLETION_FAILED),
    "no object": (then_garbage(garbage=b"data: []\n\n"), "", ReplyErrorCode.COMPLETION_FAILED),
    "a page": (
        then_garbage(garbage=b"<!doctype html><title>Log in</title>"),
        "",
        ReplyErrorCode.COMPLETION_FAILED,
    ),
    "an end and nothing else": (
        then_garbage(garbage=b"data: [DONE]\n\n"),
        "",
        ReplyErrorCode.COMPLETION_FAILED,
    ),
}


@pytest.mark.parametrize(("answer", "text", "code"), FOR_GOOD.values(), ids=FOR_GOOD.keys())
async def test_what_cannot_get_better_ends_the_reply_after_one_request(
    provider: ScriptedProvider,
    completion: ModelCompletion,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    text: str,
    code: ReplyErrorCode,
) -> None:
    provider.will(answer)
    said, error = await failure(completion)
    assert (said, error.code) == (text, code)
    assert len(provider.requests) == 1
    # One line in the log; one sentence for people, with nothing that the provider said.
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert code in record.getMessage()
    assert error.message.endswith(".")
    assert "failed." not in error.message
    everything = f"{error.message} {caplog.text} {error.__cause__} {error.__context__}"
    assert KEY not in everything
    assert KEY[:12] not in everything


async def test_a_refusal_in_the_models_own_words_is_a_refusal(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    async def refusing(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.event(chunk({"refusal": "I cannot help with that."}))
        await exchange.finish()

    provider.will(refusing)
    text, error = await failure(completion)
    assert (text, error.code) == ("", ReplyErrorCode.COMPLETION_REFUSED)


async def no_http(exchange: Exchange) -> None:
    await exchange.write(b"220 mail.example ESMTP\r\n")


PASSING: dict[str, tuple[Answer, ReplyErrorCode]] = {
    "rate limit": (
        failing(429, code="rate_limit_exceeded"),
        ReplyErrorCode.COMPLETION_RATE_LIMITED,
    ),
    "timeout": (failing(408), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "conflict": (failing(409), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "failure": (failing(500), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "bad gateway": (failing(502), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "not available": (failing(503), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "overloaded": (failing(529), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "reset": (resetting, ReplyErrorCode.COMPLETION_UNREACHABLE),
    "closed": (closing, ReplyErrorCode.COMPLETION_UNREACHABLE),
    "another protocol": (no_http, ReplyErrorCode.COMPLETION_UNREACHABLE),
    "nothing behind the head": (breaking_off(), ReplyErrorCode.COMPLETION_UNREACHABLE),
    "nothing behind the head, in order": (
        breaking_off(in_order=True),
        ReplyErrorCode.COMPLETION_BROKEN_OFF,
    ),
    "an error first": (
        then_error(error={"message": "It failed.", "type": "server_error"}),
        ReplyErrorCode.COMPLETION_UNREACHABLE,
    ),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("answer", "code"), PASSING.values(), ids=PASSING.keys())
class TestWhatMayPass:
    async def test_is_tried_again_until_there_is_an_answer(
        self,
        provider: ScriptedProvider,
        completion: ModelCompletion,
        answer: Answer,
        code: ReplyErrorCode,
    ) -> None:
        provider.will(answer, answer, saying("Here", " I am."))
        assert (await read(completion))[0] == ["Here", " I am."]
        assert len(provider.requests) == 3

    async def test_is_tried_a_few_times_and_then_ends_the_reply(
        self,
        provider: ScriptedProvider,
        completion: ModelCompletion,
        answer: Answer,
        code: ReplyErrorCode,
    ) -> None:
        provider.otherwise = answer
        text, error = await failure(completion)
        assert (text, error.code) == ("", code)
        assert len(provider.requests) == TRIES


@pytest.mark.usefixtures("quick")
async def test_an_answer_that_is_cut_at_any_byte_is_told_as_whole_only_behind_its_finish_reason(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    texts = ["Grüße", " aus ", "日本 😀"]
    said = b"".join(event(chunk({"content": text})) for text in texts)
    finished = said + event(chunk({}, finish_reason="stop"))
    data = finished + event("[DONE]")
    for length in range(0, len(data), 5):
        provider.otherwise = sending(data[:length])
        yielded, error = await outcome(completion)
        if length >= len(finished):
            assert (yielded, error) == ("".join(texts), None)
        else:
            assert error is not None
            assert "".join(texts).startswith(yielded)
            assert not yielded or error.code is ReplyErrorCode.COMPLETION_BROKEN_OFF


def sending(data: bytes) -> Answer:
    """These bytes as the body, which ends in order with the connection."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start(chunked=False)
        await exchange.write(data)

    return answer


@pytest.mark.usefixtures("quick")
async def test_a_provider_that_nobody_runs_cannot_be_reached(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    await provider.close()
    text, error = await failure(completion)
    assert (text, error.code) == ("", ReplyErrorCode.COMPLETION_UNREACHABLE)


async def test_a_provider_that_comes_back_in_time_answers(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    await provider.close()
    reading = asyncio.create_task(read(completion))
    await asyncio.sleep(0.1)
    await provider.listen()
    assert (await reading)[0] == ["Hello", " there."]


@pytest.mark.usefixtures("quick")
async def test_a_model_that_has_only_thought_is_not_asked_again(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    async def thinking(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.event(chunk({"reasoning_content": "Let me"}))

    provider.will(thinking)
    text, error = await failure(completion)
    assert (text, error.code) == ("", ReplyErrorCode.COMPLETION_BROKEN_OFF)
    assert len(provider.requests) == 1


async def test_the_pause_is_the_one_that_the_provider_asks_for(
    provider: ScriptedProvider, completion: ModelCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "RETRY_SECONDS", (0.0,))
    provider.will(failing(429, headers={"Retry-After": "1"}))
    await read(completion)
    first, second = provider.requests
    assert 1.0 <= second.arrived_at - first.arrived_at < 2.0


async def test_the_pauses_grow_and_are_not_the_same_for_everybody(
    provider: ScriptedProvider, completion: ModelCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = list[float]()
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    provider.otherwise = failing(503)
    monkeypatch.setattr(asyncio, "sleep", noted)
    await asyncio.gather(failure(completion), failure(completion))
    monkeypatch.undo()
    pauses.sort()
    for longest in model_module.RETRY_SECONDS:
        one, other = (pause for pause in pauses if longest / 2 <= pause <= longest)
        assert one != other


async def test_trying_again_has_an_end_in_time(
    provider: ScriptedProvider, completion: ModelCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "RETRY_SECONDS", (0.01,) * 1_000)
    monkeypatch.setattr(model_module, "RETRYING_SECONDS", 0.3)
    provider.otherwise = failing(503)
    began = monotonic()
    await failure(completion)
    assert monotonic() - began < 2
    assert 2 < len(provider.requests) < 60


async def test_the_http_client_waits_longer_than_the_chat_may(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    await read(completion)
    await read(model_completion(agent()))
    for request in provider.requests:
        assert float(request.headers["x-stainless-read-timeout"]) > 86_400


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("first", "second", "code", "tries"),
    [
        (failing(401), failing(503), ReplyErrorCode.COMPLETION_UNREACHABLE, TRIES),
        (failing(503), failing(401), ReplyErrorCode.COMPLETION_UNREACHABLE, TRIES),
        (failing(401), failing(404), ReplyErrorCode.COMPLETION_MODEL_NOT_FOUND, 1),
    ],
)
async def test_a_chain_of_which_none_answers_fails_as_what_could_get_better_if_anything_can(
    provider: ScriptedProvider, first: Answer, second: Answer, code: ReplyErrorCode, tries: int
) -> None:
    provider.will(*[first, second] * tries)
    chain = FallbackModel(infer_model("openai-chat:one"), infer_model("openai-chat:other"))
    text, error = await failure(model_completion(chain))
    assert (text, error.code) == ("", code)
    assert [request.body["model"] for request in provider.requests] == ["one", "other"] * tries


async def test_a_key_that_cannot_be_sent_is_the_servers_fault(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nx")
    async with model_completion("openai:scripted") as completion:
        _, error = await failure(completion)
    assert error.code == ReplyErrorCode.COMPLETION_FAILED
    assert provider.requests == []
    assert KEY not in caplog.text


# An agent.


def agent() -> Agent[None, str]:
    agent = Agent(infer_model("openai-chat:scripted"), instructions="Use your tools.")

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"Rain in {city}."

    return agent


async def calling(exchange: Exchange) -> None:
    """Says something, and calls a tool."""
    await exchange.start()
    await exchange.say("Let me look.")
    function = {"name": "weather", "arguments": '{"city": "Ulm"}'}
    call = {"index": 0, "id": "call-1", "type": "function", "function": function}
    await exchange.event(chunk({"tool_calls": [call]}))
    await exchange.finish("tool_calls", usage=(20, 8))


async def test_an_agents_requests_are_one_reply(provider: ScriptedProvider) -> None:
    provider.will(calling, saying("It rains.", usage=(40, 3)))
    texts, usages = await read(model_completion(agent()))
    assert "".join(texts) == "Let me look.\n\nIt rains."
    assert usages[-1] == Usage(model="scripted-2026", input_tokens=60, output_tokens=11)
    assert provider.requests[1].body["messages"][-1]["content"] == "Rain in Ulm."


@pytest.mark.usefixtures("quick")
async def test_an_agents_first_request_is_tried_again_and_its_others_are_not(
    provider: ScriptedProvider,
) -> None:
    provider.will(failing(503), calling, failing(503))
    text, error = await failure(model_completion(agent()))
    assert (text, error.code) == ("Let me look.", ReplyErrorCode.COMPLETION_BROKEN_OFF)
    assert len(provider.requests) == 3


@pytest.mark.parametrize("code", ["COMPLETION_BROKEN_OFF", "COMPLETION_REFUSED", "REPLY_TOO_LONG"])
async def test_an_agents_failures_have_the_same_faces(
    provider: ScriptedProvider, code: str
) -> None:
    answers = {
        "COMPLETION_BROKEN_OFF": breaking_off("Once", in_order=True),
        "COMPLETION_REFUSED": saying("Once", finish_reason="content_filter"),
        "REPLY_TOO_LONG": saying("Once", finish_reason="length"),
    }
    provider.will(answers[code])
    text, error = await failure(model_completion(agent()))
    assert (text, error.code) == ("Once", code)
    assert len(provider.requests) == 1


# Nothing is no answer.


async def says_nothing(exchange: Exchange) -> None:
    await exchange.start()
    await exchange.event(chunk({"role": "assistant", "content": ""}))
    await exchange.finish()


async def only_thinks(exchange: Exchange) -> None:
    await exchange.start()
    await exchange.event(chunk({"reasoning_content": "Hm."}))
    await exchange.finish()


async def asks_for_a_tool(exchange: Exchange) -> None:
    await exchange.start()
    await exchange.event(chunk(tool_call("{}")))
    await exchange.finish("tool_calls")


def tool_call(arguments: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments}
    call = {"index": 0, "id": "call-1", "type": "function", "function": function}
    return {"tool_calls": [call]}


@pytest.mark.parametrize(
    "answer",
    [says_nothing, only_thinks, asks_for_a_tool, saying(" \n")],
    ids=["nothing", "thoughts", "a tool call", "blanks"],
)
async def test_a_model_that_says_nothing_has_failed_and_its_tokens_count(
    provider: ScriptedProvider,
    completion: ModelCompletion,
    store: FaultyStore,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
) -> None:
    provider.will(answer)
    async with running_chat(store, completion) as chat:
        client = await sent(chat)
        last = await client.until_end()
        assert last.error is not None
        assert last.error.code is ReplyErrorCode.COMPLETION_FAILED
        assert last.error.message == "The model said nothing; try again."
        assert len(provider.requests) == 1
        assert "the response holds no text" in caplog.text
        reply = await until_told(chat, client.message_id)
        assert (reply.input_tokens, reply.output_tokens) == (7, 5)


async def until_told(chat: ChatService, reply_id: str) -> Usage:
    """What a reply took, once that is stored."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            reply = await chat.message("ann", reply_id)
            if reply is not None and reply.usage is not None:
                return reply.usage
            await asyncio.sleep(0.01)


# Whose fault it is.


async def test_a_defect_that_is_not_the_providers_is_in_the_log_with_its_traceback(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    defective = agent()

    @defective.instructions
    def today() -> str:
        raise ZeroDivisionError("of mine")

    _, error = await failure(model_completion(defective))
    assert error.message == (
        "The model could not be asked, or its answer could not be read; whoever runs the server "
        "finds the reason in its log."
    )
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert provider.requests == []


async def test_what_a_provider_refuses_has_no_traceback(
    provider: ScriptedProvider, completion: ModelCompletion, caplog: pytest.LogCaptureFixture
) -> None:
    provider.will(failing(400))
    await failure(completion)
    (record,) = caplog.records
    assert not record.exc_info


async def test_a_port_that_is_none_is_in_the_log_with_its_traceback(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:99999/v1")
    monkeypatch.setattr(model_module, "RETRY_SECONDS", ())
    async with model_completion("openai:scripted") as completion:
        await failure(completion)
    assert "OverflowError" in caplog.text


# Signs of life have an end.


def thinking_for_ever(delta: dict[str, Any]) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.start()
        with suppress(ConnectionError):
            while not exchange.request.left.is_set():
                await exchange.event(chunk(delta))
                await asyncio.sleep(0.01)

    return answer


THOUGHT = {"reasoning_content": "Hm. "}

WITHOUT_END: dict[str, tuple[dict[str, Any], str, float]] = {
    "too long a time": (THOUGHT, "THINKING_SECONDS", 0.5),
    "too many thoughts": (THOUGHT, "THINKING_LENGTH", 40),
    "a tool call": (tool_call("0"), "THINKING_SECONDS", 600),
}


@pytest.mark.parametrize(("delta", "limit", "value"), WITHOUT_END.values(), ids=WITHOUT_END.keys())
async def test_a_model_that_thinks_for_ever_is_silent_at_last(
    provider: ScriptedProvider,
    completion: ModelCompletion,
    store: FaultyStore,
    monkeypatch: pytest.MonkeyPatch,
    delta: dict[str, Any],
    limit: str,
    value: float,
) -> None:
    monkeypatch.setattr(model_module, limit, value)
    provider.will(thinking_for_ever(delta))
    began = monotonic()
    async with running_chat(store, completion, limits=Limits(silence_seconds=1.0)) as chat:
        async with asyncio.timeout(PATIENCE_SECONDS):
            last = await (await sent(chat)).until_end()
        assert last.error is not None
        assert last.error.code is ReplyErrorCode.COMPLETION_TIMEOUT
        assert monotonic() - began < 4
        await provider.until_idle()
        await settled()


async def test_a_model_that_thinks_for_longer_than_the_silence_may_be_answers(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    async def thinking(exchange: Exchange) -> None:
        await exchange.start()
        for _ in range(30):
            await exchange.event(chunk(THOUGHT))
            await asyncio.sleep(0.05)
        await exchange.say("Four.")
        await exchange.finish()

    provider.will(thinking)
    async with running_chat(store, completion, limits=Limits(silence_seconds=1.0)) as chat:
        client = await sent(chat)
        assert (await client.until_end()).status is Status.DONE
        assert client.content == "Four."


# What is sent.


async def test_a_blank_reply_is_not_sent_to_the_model(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    history = [message("One"), message(" \n", Role.ASSISTANT), message("Two")]
    async with aclosing(completion(history)) as pieces:
        assert [piece async for piece in pieces]
    assert provider.requests[0].messages == [("user", "One"), ("user", "Two")]


# Closing the provider's request.


async def test_a_reply_that_is_closed_in_the_middle_closes_the_request(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    provider.will(stalling("Once"))
    pieces = completion([message("Hi")])
    assert await anext(text async for text in pieces if isinstance(text, str)) == "Once"
    closed_at = monotonic()
    await pieces.aclose()
    assert await provider.requests[0].until_left() - closed_at < 1


STUCK: dict[str, Answer] = {
    "before the head": hanging,
    "before the first token": stalling(),
    "in the middle": stalling("Once"),
}


@pytest.mark.parametrize("is_agent", [False, True], ids=["model", "agent"])
@pytest.mark.parametrize("answer", STUCK.values(), ids=STUCK.keys())
async def test_a_reply_that_is_cancelled_closes_the_request(
    provider: ScriptedProvider, answer: Answer, is_agent: bool
) -> None:
    provider.will(answer)
    completion = model_completion(agent() if is_agent else "openai:scripted")
    async with completion:
        reading = asyncio.create_task(read(completion))
        request = await provider.asked()
        await asyncio.sleep(0.05)
        cancelled_at = monotonic()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await request.until_left() - cancelled_at < 1
        # The client is as good as before.
        assert (await read(completion))[0] == ["Hello", " there."]


async def test_a_reply_that_is_cancelled_in_a_pause_sends_nothing_more(
    provider: ScriptedProvider, completion: ModelCompletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.otherwise = failing(503, headers={"Retry-After": "5"})
    pausing = asyncio.Event()
    monkeypatch.setattr(
        model_module.logger,
        "warning",
        lambda *_, **__: asyncio.get_running_loop().call_soon(pausing.set),
    )
    reading = asyncio.create_task(read(completion))
    await asyncio.wait_for(pausing.wait(), PATIENCE_SECONDS)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, 1)
    assert len(provider.requests) == 1


# In the chat.


async def sent(chat: ChatService) -> Client:
    """A new message, and the client that follows its reply."""
    return Client(await chat.send("ann", uuid4().hex, "c", "Hi"))


async def test_stopping_a_reply_closes_the_request_within_a_second(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    for answer in STUCK.values():
        provider.will(answer)
        async with running_chat(store, completion) as chat:
            client = await sent(chat)
            request = await provider.asked(len(provider.requests) + 1)
            stopped_at = monotonic()
            await client.next()
            await chat.stop("ann", client.message_id)
            assert (await client.until_end()).status is Status.STOPPED
            assert await request.until_left() - stopped_at < 1


async def test_clearing_a_conversation_closes_the_request_within_a_second(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    provider.will(hanging)
    async with running_chat(store, completion) as chat:
        client = await sent(chat)
        request = await provider.asked()
        cleared_at = monotonic()
        await chat.clear("ann", "c")
        assert await request.until_left() - cleared_at < 1
        await client.leave()


async def test_a_shutdown_closes_the_request_within_a_second(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    provider.will(stalling("Once"))
    async with running_chat(store, completion, drain_seconds=0) as chat:
        client = await sent(chat)
        await client.until("Once")
        ended_at = monotonic()
    assert (await client.until_end()).error is not None
    assert await provider.requests[0].until_left() - ended_at < 1


async def test_a_reply_that_gets_too_long_closes_the_request_within_a_second(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    provider.will(stalling("Once upon a time"))
    async with running_chat(store, completion, limits=Limits(reply_length=4)) as chat:
        client = await sent(chat)
        last = await client.until_end()
        ended_at = monotonic()
        assert client.content == "Once"
        assert last.error is not None
        assert last.error.code is ReplyErrorCode.REPLY_TOO_LONG
        assert await provider.requests[0].until_left() - ended_at < 1


@pytest.mark.parametrize("answer", STUCK.values(), ids=STUCK.keys())
async def test_silence_is_found_by_the_chat_and_closes_the_request(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore, answer: Answer
) -> None:
    provider.will(answer)
    async with running_chat(store, completion, limits=Limits(silence_seconds=0.5)) as chat:
        client = await sent(chat)
        last = await client.until_end()
        ended_at = monotonic()
        assert last.error is not None
        assert last.error.code is ReplyErrorCode.COMPLETION_TIMEOUT
        assert await provider.requests[0].until_left() - ended_at < 1
        assert len(provider.requests) == 1


async def test_a_client_that_leaves_closes_nothing(
    provider: ScriptedProvider, completion: ModelCompletion, store: FaultyStore
) -> None:
    more = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.say("Once")
        await more.wait()
        await exchange.say(" upon a time.")
        await exchange.finish()

    provider.will(slowly)
    async with running_chat(store, completion) as chat:
        client = await sent(chat)
        await client.until("Once")
        await client.leave()
        await asyncio.sleep(0.05)
        more.set()
        other = Client(await chat.resume("ann", client.message_id, content="Once"), "Once")
        assert (await other.until_end()).status is Status.DONE
        assert other.content == "Once upon a time."


# The HTTP client.


async def test_a_completion_that_nobody_entered_closes_its_client_behind_itself(
    provider: ScriptedProvider,
) -> None:
    completion = model_completion("openai:scripted")
    for _ in range(2):
        assert (await read(completion))[0] == ["Hello", " there."]
    gc.collect()


async def test_no_connection_stays_after_many_replies_of_all_kinds(
    provider: ScriptedProvider, completion: ModelCompletion
) -> None:
    answers: list[Any] = [saying("Fine"), breaking_off("Half"), then_garbage("Once"), failing(401)]
    for answer in answers * 10:
        provider.will(answer)
    results = await asyncio.gather(*(read(completion) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(result, CompletionError) for result in results) == 30


# Pieces.


@pytest.mark.parametrize(
    ("name", "reason", "own_word", "is_whole"),
    [
        ("openai", "stop", "stop", True),
        ("openai", "stop", None, False),
        ("openai", None, "eos", True),
        ("anthropic", None, None, False),
        ("xai", "stop", None, True),
        ("openai", "tool_call", None, True),
    ],
)
def test_a_response_is_whole_if_the_provider_said_why_it_ended(
    name: str, reason: Any, own_word: str | None, is_whole: bool
) -> None:
    response = ModelResponse(
        [TextPart("Hello")],
        provider_name=name,
        provider_url="https://example.org",
        provider_details={"finish_reason": own_word} if own_word else None,
        finish_reason=reason,
    )
    found = failure_in(response, has_begun=True)
    assert (found is None) == is_whole
    if found is not None:
        assert found.code is ReplyErrorCode.COMPLETION_BROKEN_OFF
