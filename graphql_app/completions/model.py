"""Real models, through pydantic-ai: one that it knows by name, one of your own, or an agent.

    history ─▶ budget ─▶ request ─┬─ text ─────────────▶ yielded as it comes, joined as it is
                  ▲               ├─ thinking, tools ──▶ not text
                  └─ again, only  └─ failure ──────────▶ CompletionError, with its own code
                     while the model has said nothing

The provider's request belongs to the generator: it is closed where that is closed or cancelled.
"""

import asyncio
import logging
import os
import random
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic
from types import TracebackType, UnionType
from typing import Any, Self, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic_ai import Agent
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.output import TextOutput
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage, RunUsage

from graphql_app.completions.budget import Budget
from graphql_app.completions.failures import (
    GAVE_UP,
    SAID_NOTHING,
    Failure,
    cause,
    failure_in,
    failure_of,
    is_expected,
    logged_cause,
)
from graphql_app.errors import CompletionError, ConfigurationError
from graphql_app.masking import masked
from graphql_app.messages import Message, Role, Usage

logger = logging.getLogger(__name__)

# A server has nobody to read pydantic-ai's greeting, which it prints at an agent's first run.
os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")

RETRY_SECONDS = (0.5, 1.0, 2.0)
"""Pauses before a request is sent again, each made up to a half shorter at random."""

RETRYING_SECONDS = 20.0
"""How long after the first request another one may still begin; a provider that asks for a longer
pause (Retry-After) is not asked again."""

TIMEOUT_SECONDS = 100_000.0
"""The HTTP client's own patience for an answer: longer than any that a setting may give, so that
it is always the producer that finds a completion silent. Connecting has 5 seconds all the same."""

ALIVE_SECONDS = 0.25
"""How often a model that thinks, and says nothing, is reported to be alive: well within the least
silence that the settings allow, a second."""

THINKING_SECONDS = 600.0
"""How long after its last text a model that thinks is reported to be alive; then it is silent."""

THINKING_LENGTH = 1024 * 1024
"""How much a model may think for that, in code points, in one reply."""

THOUGHTS = (ThinkingPart, ThinkingPartDelta)
THOUGHTS_AND_TOOLS = (*THOUGHTS, ToolCallPart, ToolCallPartDelta)

RENAMED = {"google-gla": "google", "google-vertex": "google-cloud"}
"""Providers that had other names in earlier versions of pydantic-ai."""

VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
EXTRA = re.compile(r"pydantic-ai-slim\[([\w-]+)\]")


def model_completion(
    model: str | Model[Any] | AbstractAgent[Any, Any],
    *,
    system_prompt: str = "",
    max_history_messages: int = 0,
    max_history_tokens: int = 0,
) -> "ModelCompletion":
    """A completion that a model answers.

    Args:
        model: a name as in `--completion`, `openai:gpt-5-mini`; or one of pydantic-ai's models, a
            `FallbackModel` for example; or an agent, whose tools run while it answers.
        system_prompt: what the model is told before the conversation; an agent's own comes first.
        max_history_messages: the most messages that are sent, the newest; 0 sends all.
        max_history_tokens: the same in tokens, estimated (see `estimated_tokens`).

    Raises:
        ConfigurationError: nothing has that name, its provider lacks a package or a variable, or
            an agent does not answer in text.
    """
    budget = Budget(max_history_messages, max_history_tokens)
    if isinstance(model, str):
        model = named_model(model)
    elif isinstance(model, AbstractAgent) and not _is_text(model.output_type):
        raise ConfigurationError(
            f"completion: the agent's output is {_type_name(model.output_type)}, and a reply is "
            "text; use an agent whose output_type is str."
        )
    return ModelCompletion(model, system_prompt, budget)


def _is_text(output_type: object) -> bool:
    """Whether an agent may answer in text, which is what is streamed of it."""
    if isinstance(output_type, list | tuple):
        return any(map(_is_text, output_type))
    if get_origin(output_type) in (Union, UnionType):
        return any(map(_is_text, get_args(output_type)))
    return output_type is str or isinstance(output_type, TextOutput)


def _type_name(output_type: object) -> str:
    return output_type.__name__ if isinstance(output_type, type) else str(output_type)


def is_provider(name: str) -> bool:
    """Whether the installed pydantic-ai knows a provider of that name."""
    try:
        infer_provider_class(name)
    except ImportError:
        return True  # It knows it, and lacks its package.
    except ValueError:
        return False
    return True


def is_model(found: object) -> bool:
    """Whether an object is a model or an agent of pydantic-ai."""
    return isinstance(found, Model | AbstractAgent)


def named_model(name: str) -> Model[Any]:
    """The model that a name like `openai:gpt-5-mini` means.

    Raises:
        ConfigurationError: nothing has that name, or its provider lacks a package or a variable.
    """
    provider, _, model = name.partition(":")
    provider = RENAMED.get(provider, provider)
    if provider == "openai" and not _is_openai_itself():
        # Servers that are compatible with OpenAI speak Chat Completions; few speak Responses.
        provider = "openai-chat"
    try:
        return infer_model(f"{provider}:{model}")
    except ImportError as error:
        if extra := EXTRA.search(str(error)):
            raise ConfigurationError(
                f"completion: {name!r} needs the package of its provider: "
                f"pip install 'pydantic-ai-slim[{extra[1]}]'."
            ) from None
        raise ConfigurationError(f"completion: {name!r} cannot be used: {_reason(error)}") from None
    except Exception as error:  # Each provider's client has its own way to miss something.
        if names := list(dict.fromkeys(VARIABLE.findall(str(error)))):
            raise ConfigurationError(
                f"completion: {name!r} needs {' or '.join(names)} in the environment."
            ) from None
        raise ConfigurationError(f"completion: {name!r} cannot be used: {_reason(error)}") from None


def _is_openai_itself() -> bool:
    host = urlsplit(os.environ.get("OPENAI_BASE_URL", "")).hostname
    return host is None or host == "openai.com" or host.endswith(".openai.com")


def _reason(error: Exception) -> str:
    """The first sentence of what went wrong."""
    return masked(str(error) or type(error).__name__).partition(". ")[0].rstrip(".") + "."


class ModelCompletion:
    """What `model_completion` returns.

    Between entering and leaving it as a context manager, all replies share one HTTP client, and an
    agent's toolsets stay open; the application does so. Without that, they are opened when they are
    needed, and closed when no reply needs them any more.
    """

    def __init__(
        self, model: Model[Any] | AbstractAgent[Any, Any], system_prompt: str, budget: Budget
    ) -> None:
        self._model = model
        self._system_prompt = system_prompt
        self._budget = budget

    async def __aenter__(self) -> Self:
        try:
            await self._model.__aenter__()
        except Exception as error:
            raise ConfigurationError(f"completion: cannot be opened: {cause(error)}.") from error
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._model.__aexit__(error_type, error, traceback)

    async def __call__(self, history: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        # Providers refuse blank messages. A reply can be blank where it failed or was stopped.
        spoken = [each for each in history if each.role is Role.USER or each.content.strip()]
        conversation = _conversation(self._budget.cut(spoken))
        retries, life = _Retries(), _Life()
        async with self._model:
            while True:
                run = _Run(self._model, conversation, self._system_prompt, life)
                async with aclosing(run.pieces()) as pieces:
                    async for piece in pieces:
                        yield piece
                if run.failure is None:
                    return
                pause = retries.pause(run.failure)
                logger.warning(
                    "%s: %s%s",
                    run.failure.code,
                    run.cause,
                    "" if pause is None else f"; trying again in {pause:.1f} s",
                    exc_info=run.defect,
                )
                if pause is None:
                    # Without a cause: what a provider says may hold keys, and texts of users.
                    raise run.failure.error()
                await asyncio.sleep(pause)


class _Retries:
    """Whether and when a request is sent again, after a failure that may pass."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._pauses = iter(RETRY_SECONDS)

    def pause(self, failure: Failure) -> float | None:
        """Seconds to wait before the next request; None for no more."""
        if not failure.is_transient or (longest := next(self._pauses, None)) is None:
            return None
        pause = max(longest * random.uniform(0.5, 1.0), failure.retry_after_seconds or 0.0)
        is_late = monotonic() - self._began + pause > RETRYING_SECONDS
        return None if is_late else pause


class _Life:
    """Whether a model that says nothing is to be reported to be alive; not for ever."""

    def __init__(self) -> None:
        self._silent_since = monotonic()
        self._thought_length = 0
        self._told_at = 0.0

    def speaks(self) -> None:
        """It says something."""
        self._silent_since = monotonic()

    def thinks(self, event: PartStartEvent | PartDeltaEvent) -> bool:
        """It thinks; returns whether that is to be told now."""
        self._thought_length += _thought_length(event)
        now = monotonic()
        if (
            now - self._told_at < ALIVE_SECONDS
            or now - self._silent_since > THINKING_SECONDS
            or self._thought_length > THINKING_LENGTH
        ):
            return False
        self._told_at = now
        return True


def _thought_length(event: PartStartEvent | PartDeltaEvent) -> int:
    """How much an event holds that is not said: thoughts, or what a tool is called with."""
    part = event.part if isinstance(event, PartStartEvent) else event.delta
    match part:
        case ThinkingPart(content=content):
            return len(content)
        case ThinkingPartDelta(content_delta=content):
            return len(content or "")
        case ToolCallPart(args=str(args)) | ToolCallPartDelta(args_delta=str(args)):
            return len(args)
    return 0


class _Run:
    """One try to get an answer: what it yields, and afterwards how it failed, if it did.

    A `Usage` is a sign of life for whoever reads; so it is yielded with a text, and otherwise only
    as often as `life` allows.
    """

    def __init__(
        self,
        model: Model[Any] | AbstractAgent[Any, Any],
        conversation: list[ModelMessage],
        system_prompt: str,
        life: _Life,
    ) -> None:
        self.failure: Failure | None = None
        self.cause = ""
        self.defect: Exception | None = None
        self._model = model
        self._conversation = conversation
        self._system_prompt = system_prompt
        self._life = life
        self._has_begun = False
        self._is_blank = True
        self._waits_for_model = False
        self._text = _Text()

    async def pieces(self) -> AsyncGenerator[str | Usage, None]:
        """The text as it comes, and what is known of the usage."""
        if name := _configured_name(self._model):
            yield _usage(name)
        try:
            if isinstance(self._model, Model):
                pieces = self._of_model(self._model)
            else:
                pieces = self._of_agent(self._model)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
            if self._is_blank:
                self.failure, self.cause = SAID_NOTHING, "the response holds no text"
        except _ResponseError as error:
            self.failure, self.cause = error.failure, str(error)
        except CompletionError:
            raise  # A tool's own.
        except Exception as error:
            if self._waits_for_model:
                self.failure = failure_of(error, has_begun=self._has_begun)
            elif isinstance(error, AgentRunError):
                self.failure = GAVE_UP
            else:
                raise  # A tool's defect, and not the provider's.
            self.cause = logged_cause(error)
            self.defect = None if is_expected(error) else error

    async def _of_model(self, model: Model[Any]) -> AsyncGenerator[str | Usage, None]:
        self._waits_for_model = True
        settings = _settings(model, model.settings)
        parameters = ModelRequestParameters(
            instruction_parts=[InstructionPart(self._system_prompt)] if self._system_prompt else []
        )
        known = _usage(_configured_name(model))
        async with model_request_stream(
            model,
            self._conversation,
            model_settings=settings,
            model_request_parameters=parameters,
        ) as stream:
            async for event in stream:
                # A model that was given no tools and calls some is not on its way to an answer.
                is_alive = self._is_alive(event, THOUGHTS)
                piece = self._said(event)
                if piece:
                    yield piece
                usage = _usage(stream.model_name, stream.usage)
                if is_alive or (piece and usage != known):
                    known = usage
                    yield usage
            usage = _usage(stream.model_name, stream.usage)
            if usage != known:
                yield usage
            self._check(stream.get())

    async def _of_agent(self, agent: AbstractAgent[Any, Any]) -> AsyncGenerator[str | Usage, None]:
        model = agent.model if isinstance(agent.model, Model) else None
        usage = _usage(_configured_name(agent))
        async with agent.iter(
            message_history=self._conversation,
            instructions=self._system_prompt or None,
            model_settings=_settings(model, getattr(agent, "model_settings", None)),
            # An agent adds its system prompt to a new conversation only; it keeps no history here.
            capabilities=[ReinjectSystemPrompt(id=None)],
        ) as run:
            async for node in run:
                if not Agent.is_model_request_node(node):
                    continue
                self._text.breaks()
                self._waits_for_model = True
                async with node.stream(run.ctx) as stream:
                    async for event in stream:
                        is_alive = self._is_alive(event, THOUGHTS_AND_TOOLS)
                        if piece := self._said(event):
                            yield piece
                        elif is_alive:
                            yield usage
                    response = stream.response
                    usage = _usage(response.model_name, stream.usage)
                    yield usage
                    self._check(response)
                self._waits_for_model = False

    def _is_alive(self, event: object, signs: tuple[type, ...]) -> bool:
        """Whether an event is a sign of life that is to be told."""
        if not isinstance(event, PartStartEvent | PartDeltaEvent):
            return False
        part = event.part if isinstance(event, PartStartEvent) else event.delta
        return isinstance(part, signs) and self._life.thinks(event)

    def _said(self, event: object) -> str:
        """The text of an event, if it is one of those that have some."""
        if not isinstance(event, PartStartEvent | PartDeltaEvent):
            return ""
        self._has_begun = True
        text = self._text.of(event)
        if text:
            self._life.speaks()
            self._is_blank = self._is_blank and text.isspace()
        return text

    def _check(self, response: ModelResponse) -> None:
        if failure := failure_in(response, has_begun=self._has_begun):
            raise _ResponseError(failure, f"the response ended with {response.finish_reason!r}")


def _usage(model_name: object, counted: RequestUsage | RunUsage | None = None) -> Usage:
    # A server that is only compatible may give anything as its model's name.
    name = model_name if isinstance(model_name, str) and model_name else None
    return Usage(
        model=name,
        # pydantic-ai counts from 0; no model reads nothing.
        input_tokens=(counted and counted.input_tokens) or None,
        output_tokens=(counted and counted.output_tokens) or None,
    )


class _ResponseError(Exception):
    """A response came to its end, and that was not the end of an answer."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure


class _Text:
    """The text of a run's parts, joined as it is, but for one thing.

    Providers cut a text into parts in the middle of a sentence (around thinking, for citations), so
    parts are joined as they are. What a model says before and after a tool call, or in messages of
    their own, are paragraphs; where the model put no space between them, an empty line is added.
    """

    def __init__(self) -> None:
        self._part_id: str | None = None
        self._breaks = False
        self._ends_with_space = True  # Nothing has to be parted from the beginning.

    def breaks(self) -> None:
        """What follows is another paragraph."""
        self._breaks = True

    def of(self, event: PartStartEvent | PartDeltaEvent) -> str:
        """The text that an event adds."""
        match event:
            case PartStartEvent(part=TextPart(content=text, id=id)):
                if id is not None:
                    if self._part_id not in (None, id):
                        self.breaks()
                    self._part_id = id
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                pass
            case PartStartEvent(part=part) if not isinstance(part, ThinkingPart):
                self.breaks()
                return ""
            case _:
                return ""
        if not text:
            return ""
        is_glued = self._breaks and not self._ends_with_space and not text[0].isspace()
        self._breaks = False
        self._ends_with_space = text[-1].isspace()
        return f"\n\n{text}" if is_glued else text


def _conversation(history: Sequence[Message]) -> list[ModelMessage]:
    """The history as pydantic-ai has it, a message for each."""
    return [
        ModelRequest([UserPromptPart(message.content)])
        if message.role is Role.USER
        else ModelResponse([TextPart(message.content)])
        for message in history
    ]


def _settings(model: Model[Any] | None, given: object) -> ModelSettings:
    """What makes our retries the only ones, and the producer the only one who finds it silent."""
    settings = ModelSettings(max_retries=0)
    if not (isinstance(given, dict) and "timeout" in given):
        settings["timeout"] = TIMEOUT_SECONDS
    if model is not None:
        for name in model.unsupported_settings & settings.keys():
            del settings[name]
    return settings


def _configured_name(model: Model[Any] | AbstractAgent[Any, Any]) -> str | None:
    """What the model is called before its provider has said anything."""
    if isinstance(model, Model):
        return model.model_name
    chosen = model.model
    if isinstance(chosen, Model):
        return chosen.model_name
    return chosen.partition(":")[2] if isinstance(chosen, str) else None
