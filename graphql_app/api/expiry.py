"""Streams of results that end with the token they were asked for with."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from strawberry.types import ExecutionResult

from graphql_app import metrics
from graphql_app.access.bearer import EXPIRED
from graphql_app.access.expiry import Expiry
from graphql_app.api.failures import presented
from graphql_app.errors import UnauthenticatedError


async def until(expires_at: float, results: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Results up to the end of a token, and then a last one with an error that says so.

    Args:
        expires_at: in seconds since 1970.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Timeout | None = None
    is_over = False

    def expire() -> None:
        nonlocal is_over
        is_over = True
        if waiting is not None:
            waiting.reschedule(loop.time())

    expiry = Expiry(expires_at, expire)
    try:
        async with aclosing(results):
            while not is_over:
                try:
                    async with asyncio.timeout(None) as waiting:
                        result = await anext(results)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if waiting is None or not waiting.expired():
                        raise
                    break
                finally:
                    waiting = None
                yield result
                del result  # It may be large, and would stay while there is nothing to say.
        metrics.refused("token")
        yield ExecutionResult(data=None, errors=[presented(UnauthenticatedError(EXPIRED))])
    finally:
        expiry.cancel()
