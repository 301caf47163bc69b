"""Real models: what they are sent, and what is made of what they say."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, TextOutput, ToolOutput
from pydantic_ai.messages import (
    ModelMessage,
    SystemPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import (
    AgentInfo,
    DeltaThinkingPart,
    DeltaToolCall,
    FunctionModel,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import FunctionToolset

from graphql_app import CompletionError
from graphql_app.app import create_app
from graphql_app.completions.budget import Budget, estimated_tokens
from graphql_app.completions.model import ModelCompletion, model_completion
from graphql_app.errors import ConfigurationError
from graphql_app.messages import Message, Role, Status, Usage
from graphql_app.settings import Settings
from tests.faults import leaking_nothing

Deltas = str | dict[int, DeltaToolCall] | dict[int, DeltaThinkingPart]
Stream = Callable[[list[ModelMessage], AgentInfo], AsyncIterator[Any]]


def message(content: str, role: Role = Role.USER) -> Message:
    return Message("m", "c", role, content, Status.DONE, datetime(2026, 1, 1, tzinfo=UTC))


def conversation(*contents: str) -> list[Message]:
    """A conversation in which user and assistant take turns; the user has the last word."""
    return [
        message(content, Role.ASSISTANT if (len(contents) - place) % 2 == 0 else Role.USER)
        for place, content in enumerate(contents)
    ]


def saying(*responses: Sequence[Deltas]) -> "SaidBy":
    return SaidBy(responses)


class SaidBy:
    """A model in this process that gives these responses, one after the other."""

    def __init__(self, responses: Sequence[Sequence[Deltas]]) -> None:
        self.requests: list[list[ModelMessage]] = []
        self.instructions: list[str | None] = []
        self._responses = iter(responses)

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Deltas]:
        self.requests.append(list(messages))
        self.instructions.append(info.instructions)
        for delta in next(self._responses):
            yield delta

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self.stream, model_name="scripted")


async def pieces(completion: ModelCompletion, history: Sequence[Message]) -> list[str | Usage]:
    with leaking_nothing():
        async with aclosing(completion(history)) as yielded:
            return [piece async for piece in yielded]


async def texts(model: Model[Any] | Agent[Any, Any], *contents: str) -> list[str]:
    said = await pieces(model_completion(model), conversation(*(contents or ("Hi",))))
    return [piece for piece in said if isinstance(piece, str)]


def sent(request: Sequence[ModelMessage]) -> list[tuple[str, str]]:
    """What a request holds, part by part."""
    kinds = {UserPromptPart: "user", TextPart: "assistant", SystemPromptPart: "system"}
    return [
        (kinds[type(part)], str(part.content))  # type: ignore[union-attr]
        for each in request
        for part in each.parts
    ]


def call(name: str, place: int = 0, **arguments: Any) -> dict[int, DeltaToolCall]:
    return {place: DeltaToolCall(name, json.dumps(arguments), tool_call_id=f"call-{place}")}


# What a model is sent.


async def test_the_whole_conversation_is_sent_oldest_first() -> None:
    said = saying(["Fine."])
    await texts(said.model, "Hello", "Hi!", "How are you?")
    assert sent(said.requests[0]) == [
        ("user", "Hello"),
        ("assistant", "Hi!"),
        ("user", "How are you?"),
    ]


async def test_messages_of_users_that_follow_each_other_stay_apart() -> None:
    said = saying(["Both."])
    completion = model_completion(said.model)
    await pieces(completion, [message("One"), message("Two"), message("Three")])
    assert sent(said.requests[0]) == [("user", "One"), ("user", "Two"), ("user", "Three")]


async def test_the_system_prompt_comes_with_each_request() -> None:
    said = saying(["Arr."], ["Arr!"])
    completion = model_completion(said.model, system_prompt="You are a pirate.")
    await pieces(completion, conversation("Hello"))
    await pieces(completion, conversation("Hello", "Arr.", "Again"))
    assert said.instructions == ["You are a pirate.", "You are a pirate."]


async def test_without_a_system_prompt_a_model_is_told_nothing() -> None:
    said = saying(["Hi."])
    await texts(said.model)
    assert said.instructions == [None]


async def test_an_agents_own_system_prompt_and_instructions_come_with_every_conversation() -> None:
    said = saying(["Arr."])
    agent = Agent(said.model, system_prompt="You are a pirate.", instructions="Be brief.")
    completion = model_completion(agent, system_prompt="Today is Monday.")
    await pieces(completion, conversation("Hello", "Hi!", "And now?"))
    assert sent(said.requests[0]) == [
        ("system", "You are a pirate."),
        ("user", "Hello"),
        ("assistant", "Hi!"),
        ("user", "And now?"),
    ]
    assert said.instructions[0] is not None
    assert said.instructions[0].split() == ["Be", "brief.", "Today", "is", "Monday."]


async def test_an_agent_that_puts_its_system_prompt_back_itself_may_do_so() -> None:
    from pydantic_ai.capabilities import ReinjectSystemPrompt

    said = saying(["Arr."])
    agent = Agent(
        said.model, system_prompt="You are a pirate.", capabilities=[ReinjectSystemPrompt()]
    )
    await texts(agent, "Hello", "Hi!", "And now?")
    assert sent(said.requests[0])[0] == ("system", "You are a pirate.")
    assert len(said.requests[0][0].parts) == 2


# The budget.


def contents(history: Sequence[Message]) -> list[str]:
    return [message.content for message in history]


def test_without_limits_everything_is_sent() -> None:
    history = conversation("a" * 100_000, "b", "c")
    assert Budget().cut(history) == history


@pytest.mark.parametrize(
    ("messages", "left"),
    [(1, ["e"]), (2, ["e"]), (3, ["c", "d", "e"]), (4, ["c", "d", "e"]), (5, list("abcde"))],
)
def test_a_history_is_cut_to_the_newest_messages_and_begins_with_a_users(
    messages: int, left: list[str]
) -> None:
    assert contents(Budget(messages=messages).cut(conversation(*"abcde"))) == left


def test_a_history_is_cut_to_the_tokens_that_it_may_have_but_never_inside_a_message() -> None:
    history = conversation("a" * 40, "b" * 40, "c" * 40, "d" * 4, "e" * 4)
    assert contents(Budget(tokens=12).cut(history)) == ["c" * 40, "d" * 4, "e" * 4]
    assert contents(Budget(tokens=11).cut(history)) == ["e" * 4]


def test_the_newest_message_always_stays() -> None:
    history = conversation("a", "b", "c" * 1_000)
    assert contents(Budget(messages=1, tokens=1).cut(history)) == ["c" * 1_000]


def test_a_token_is_four_bytes_of_utf_8() -> None:
    assert [estimated_tokens(text) for text in ("", "a", "abcd", "abcde", "日本", "😀")] == [
        0,
        1,
        1,
        2,
        2,
        1,
    ]


roles = st.sampled_from([Role.USER, Role.ASSISTANT])


@given(
    st.lists(st.builds(message, st.text(max_size=9), roles), max_size=8),
    st.text(max_size=30),
    st.integers(0, 9),
    st.integers(0, 20),
)
def test_a_cut_keeps_the_end_of_the_conversation_and_as_much_of_it_as_fits(
    earlier: list[Message], newest: str, messages: int, tokens: int
) -> None:
    history = [*earlier, message(newest)]
    budget = Budget(messages, tokens)
    kept = budget.cut(history)
    assert kept
    assert list(kept) == history[-len(kept) :]

    def fits(some: Sequence[Message]) -> bool:
        size = sum(estimated_tokens(each.content) for each in some)
        return (not messages or len(some) <= messages) and (not tokens or size <= tokens)

    if len(kept) > 1:
        assert fits(kept)
    if len(kept) < len(history):
        assert kept[0].role is Role.USER
        # One more would be too much, or would begin with an answer.
        more = next(
            (
                history[begin:]
                for begin in range(len(history) - len(kept) - 1, -1, -1)
                if history[begin].role is Role.USER
            ),
            None,
        )
        assert more is None or not fits(more)


async def test_a_model_is_sent_what_the_budget_leaves() -> None:
    said = saying(["ok"])
    completion = model_completion(said.model, max_history_messages=3, max_history_tokens=1)
    await pieces(completion, conversation("Hello", "Hi!", "How are you?"))
    assert sent(said.requests[0]) == [("user", "How are you?")]


# Text.


async def test_text_is_yielded_delta_by_delta_exactly_as_it_comes() -> None:
    deltas = [" \n", "Hel", "lo", "", " ", "wörld\u2028", "😀", "\n\n"]
    assert await texts(saying(deltas).model) == [delta for delta in deltas if delta]


@given(st.lists(st.text(max_size=9), min_size=1, max_size=9).filter(lambda d: "".join(d).strip()))
async def test_any_text_arrives_as_the_model_said_it(deltas: list[str]) -> None:
    assert "".join(await texts(saying(deltas).model)) == "".join(deltas)


async def test_a_delta_is_yielded_before_the_next_one_is_there() -> None:
    more = asyncio.Event()

    async def stream(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str]:
        yield "First"
        await more.wait()
        yield ", second"

    completion = model_completion(FunctionModel(stream_function=stream))
    async with asyncio.timeout(5), aclosing(completion(conversation("Hi"))) as yielded:
        assert await anext(text async for text in yielded if isinstance(text, str)) == "First"
        more.set()
        assert [text async for text in yielded if isinstance(text, str)] == [", second"]


async def test_thoughts_are_no_text() -> None:
    thought = {0: DeltaThinkingPart(content="Let me see.")}
    assert await texts(saying([thought, "Four."]).model) == ["Four."]


@pytest.mark.parametrize("wrapped", [lambda model: model, Agent], ids=["model", "agent"])
async def test_a_model_that_thinks_is_reported_to_be_alive(
    wrapped: Callable[[Model[Any]], Model[Any] | Agent[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphql_app.completions.model.ALIVE_SECONDS", 0.05)

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Deltas]:
        for _ in range(20):
            await asyncio.sleep(0.01)
            yield {0: DeltaThinkingPart(content="Let me see.")}
        yield "Four."

    model = FunctionModel(stream_function=stream, model_name="scripted")
    said = await pieces(model_completion(wrapped(model)), conversation("Hi"))
    before = said[: said.index("Four.")]
    assert len(before) >= 3
    assert all(isinstance(piece, Usage) for piece in before)


async def test_a_sentence_with_thoughts_in_the_middle_is_not_torn_apart() -> None:
    thought = {1: DeltaThinkingPart(content="Let me see.")}
    assert await texts(saying(["Two and two", thought, " make four."]).model) == [
        "Two and two",
        " make four.",
    ]


# Agents and their tools.


def weather_agent(said: SaidBy) -> Agent[None, str]:
    agent = Agent(said.model)

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"Rain in {city}."

    return agent


async def test_an_agents_tools_run_and_all_it_says_is_the_reply() -> None:
    said = saying(["Let me look.", call("weather", city="Ulm")], ["It rains", " in Ulm."])
    assert await texts(weather_agent(said)) == ["Let me look.", "\n\nIt rains", " in Ulm."]
    returned = said.requests[1][-1].parts[0]
    assert isinstance(returned, ToolReturnPart)
    assert returned.content == "Rain in Ulm."


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("Look.", "Rain.", "Look.\n\nRain."),
        ("Look.\n", "Rain.", "Look.\nRain."),
        ("Look.", " Rain.", "Look. Rain."),
        ("", "Rain.", "Rain."),
        ("Look.", "", "Look."),
    ],
)
async def test_what_is_said_before_and_after_a_tool_call_does_not_run_together(
    before: str, after: str, text: str
) -> None:
    said = saying([before, call("weather", city="Ulm")], [after or "\u200b"])
    expected = text if after else f"{text}\n\n\u200b"
    assert "".join(await texts(weather_agent(said))) == expected


async def test_a_tool_that_fails_says_so_in_the_log_and_not_in_the_reply() -> None:
    agent = Agent(saying([call("fail")]).model)

    @agent.tool_plain
    def fail() -> str:
        raise LookupError("no such city")

    with pytest.raises(LookupError, match="no such city"):
        await texts(agent)


async def test_a_tool_may_end_the_reply_with_a_sentence_of_its_own() -> None:
    agent = Agent(saying([call("fail")]).model)

    @agent.tool_plain
    def fail() -> str:
        raise CompletionError("COMPLETION_REFUSED", "Not on Sundays.")

    with pytest.raises(CompletionError, match=r"^Not on Sundays\.$"):
        await texts(agent)


async def test_an_agent_that_calls_its_tool_wrongly_again_and_again_gives_up() -> None:
    agent = Agent(saying(*[[call("fail")]] * 9).model)

    @agent.tool_plain
    def fail() -> str:
        raise ModelRetry("Not so.")

    with pytest.raises(CompletionError) as failure:
        await texts(agent)
    assert failure.value.code == "COMPLETION_FAILED"


async def test_a_toolset_is_opened_once_for_all_replies_of_an_application() -> None:
    opened = 0
    agent = weather_agent(saying(["One."], ["Two."]))
    enter = Agent.__aenter__

    async def counted(self: Agent[Any, Any]) -> Any:
        nonlocal opened
        opened += self._entered_count == 0
        return await enter(self)

    completion = model_completion(agent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Agent, "__aenter__", counted)
        async with completion:
            await pieces(completion, conversation("Hi"))
            await pieces(completion, conversation("Hi"))
    assert opened == 1


class Rating(BaseModel):
    stars: int


def with_output(output_type: Any) -> Agent[Any, Any]:
    return Agent(TestModel(), output_type=output_type)


@pytest.mark.parametrize(
    ("output_type", "name"),
    [
        (Rating, "Rating"),
        (int, "int"),
        ([int, bool], "[<class"),
        (ToolOutput(str), "ToolOutput"),
    ],
)
def test_an_agent_that_does_not_answer_in_text_is_refused(output_type: Any, name: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        model_completion(with_output(output_type))
    assert str(refusal.value).startswith(f"completion: the agent's output is {name}")
    assert str(refusal.value).endswith("a reply is text; use an agent whose output_type is str.")


def upper(text: str) -> str:
    return text.upper()


TEXTUAL: list[Any] = [str, [str, Rating], str | Rating, TextOutput(upper)]


@pytest.mark.parametrize("output_type", TEXTUAL)
def test_an_agent_that_may_answer_in_text_is_taken(output_type: Any) -> None:
    model_completion(with_output(output_type))


# What it took.


def usages(yielded: Sequence[str | Usage]) -> list[Usage]:
    return [piece for piece in yielded if isinstance(piece, Usage)]


async def test_the_models_name_comes_first_and_the_tokens_last() -> None:
    completion = model_completion(TestModel(custom_output_text="Four, I think."))
    yielded = await pieces(completion, conversation("Two and two?"))
    assert yielded[0] == Usage(model="test")
    last = yielded[-1]
    assert isinstance(last, Usage)
    assert last.model == "test"
    assert (last.input_tokens or 0) > 0
    assert (last.output_tokens or 0) > 0


async def test_an_agents_tokens_are_those_of_all_its_requests() -> None:
    said = saying([call("weather", city="Ulm")], ["It rains."])
    known = usages(await pieces(model_completion(weather_agent(said)), conversation("Hi")))
    inputs = [usage.input_tokens for usage in known if usage.input_tokens is not None]
    assert len(inputs) == 2
    assert inputs[1] > 2 * inputs[0] - 1


async def test_what_is_known_is_told_once() -> None:
    yielded = await pieces(model_completion(TestModel()), conversation("Hi"))
    known = usages(yielded)
    assert len(known) == len(set(known))


# Chains.


async def test_a_chain_answers_with_the_model_that_can() -> None:
    async def away(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str]:
        from pydantic_ai.exceptions import ModelConnectionError

        raise ModelConnectionError("first", "It is away.")
        yield ""

    chain = FallbackModel(FunctionModel(stream_function=away), saying(["Here."]).model)
    yielded = await pieces(model_completion(chain), conversation("Hi"))
    assert [piece for piece in yielded if isinstance(piece, str)] == ["Here."]
    last = yielded[-1]
    assert isinstance(last, Usage)
    assert last.model == "scripted"


# Lifetimes.


async def test_a_reply_that_is_closed_in_the_middle_closes_its_model() -> None:
    closed = asyncio.Event()

    async def stream(_: list[ModelMessage], __: AgentInfo) -> AsyncGenerator[str, None]:
        try:
            yield "First"
            await asyncio.Event().wait()
        finally:
            closed.set()

    for source in (
        FunctionModel(stream_function=stream),
        Agent(FunctionModel(stream_function=stream)),
    ):
        closed.clear()
        async with asyncio.timeout(5):
            yielded = model_completion(source)(conversation("Hi"))
            assert await anext(text async for text in yielded if isinstance(text, str)) == "First"
            await yielded.aclose()
            await closed.wait()


class Lasting:
    """A completion that notes when it is entered and left."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def __aenter__(self) -> None:
        self.notes.append("entered")

    async def __aexit__(self, *error: object) -> None:
        self.notes.append("left")

    async def __call__(self, history: Sequence[Message]) -> AsyncIterator[str]:
        yield "Hello"


async def test_an_application_enters_a_completion_that_has_a_lifetime_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lasting = Lasting()
    monkeypatch.setattr("graphql_app.app.open_completion", lambda *_, **__: lasting)
    app = create_app(Settings(drain_seconds=0))
    assert lasting.notes == []
    async with app.router.lifespan_context(app):
        assert lasting.notes == ["entered"]
    assert lasting.notes == ["entered", "left"]


async def test_an_agent_that_cannot_be_opened_ends_the_start_with_a_sentence() -> None:
    class Away(FunctionToolset[None]):
        async def __aenter__(self) -> Any:
            raise ConnectionError("no tools at http://me:secret@host/")

    completion = model_completion(Agent(TestModel(), toolsets=[Away()]))
    with pytest.raises(ConfigurationError) as refusal:
        await completion.__aenter__()
    assert str(refusal.value) == (
        "completion: cannot be opened: ConnectionError: no tools at http://***@host/."
    )


async def test_replies_of_one_model_do_not_disturb_each_other() -> None:
    async def stream(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str]:
        question = sent(messages)[0][1]
        for word in question.split():
            yield f"{word} "
            await asyncio.sleep(0)

    completion = model_completion(FunctionModel(stream_function=stream))

    async def answer(question: str) -> str:
        yielded = [piece async for piece in completion([message(question)])]
        return "".join(piece for piece in yielded if isinstance(piece, str))

    questions = [f"one two three {number} " for number in range(20)]
    async with completion:
        assert await asyncio.gather(*map(answer, questions)) == questions
