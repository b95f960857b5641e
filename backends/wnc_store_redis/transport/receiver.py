"""Receivers of replies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, cast

from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.retry import NoReplyError
from wnc_store_redis.transport.tasks import BackgroundTasks


class Receiver(Protocol):
    """Receives the reply to a command. A future is a receiver. Other receivers act on the reply at once."""

    def done(self) -> bool:
        """Return whether nobody waits for the reply any more."""
        ...

    def set_result(self, result: Reply, /) -> None:
        """Receive the reply, which is a `ResponseError` if the server rejects the command.

        Raises:
            InvalidStateError: nobody waits for the reply any more.
        """
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Receive the reason why no reply arrives: `NoReplyError`, or `StoreClosedError` before it was sent."""
        ...


class _Ignored:
    """Receiver of a reply that does not matter."""

    def done(self) -> bool:
        """See `Receiver.done`."""
        return False

    def set_result(self, result: Reply, /) -> None:
        """See `Receiver.set_result`."""

    def set_exception(self, exception: BaseException, /) -> None:
        """See `Receiver.set_exception`."""


IGNORED = _Ignored()


def forward(tasks: BackgroundTasks, coroutine: Coroutine[Any, Any, Reply], receiver: Receiver) -> None:
    """Start a task that sends a command, and pass its outcome to a receiver. A cancelled future cancels the task."""

    def pass_on(task: asyncio.Task[Reply]) -> None:
        cancelled = NoReplyError(ConnectionError("the task that sends the command was cancelled"), sent=True)
        failure = cancelled if task.cancelled() else task.exception()
        if receiver.done():
            return
        if failure is None:
            receiver.set_result(task.result())
        else:
            receiver.set_exception(failure)

    task = tasks.spawn(coroutine)
    task.add_done_callback(pass_on)
    if isinstance(receiver, asyncio.Future):
        future = cast("asyncio.Future[Reply]", receiver)
        future.add_done_callback(lambda _: task.cancel())
