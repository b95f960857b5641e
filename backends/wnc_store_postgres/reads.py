"""Reads of one tick that share a round trip."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

from wnc_store_postgres.transport.connection import Row
from wnc_store_postgres.transport.executor import StatementExecutor

_MAX_IDS = 200
"""Number of ids in one query; the rows of more would delay other queries for too long."""


_Batch = dict[str, list[asyncio.Future[Sequence[Row]]]]


class BatchedQuery:
    """A query for the rows of several ids, which are its second argument, and its first column.

    Ids that are requested in one tick, or while no connection is free, share a query.

    Args:
        executor: runs the query.
        query: the query.
        others: its other arguments.
    """

    def __init__(self, executor: StatementExecutor, query: str, *others: Any) -> None:
        self._executor = executor
        self._query = query
        self._others = others
        self._waiting = _Batch()
        self._planned = 0

    async def get(self, record_id: str) -> Sequence[Row]:
        """Return the rows of an id, without the id."""
        loop = self._executor.running_loop()
        future: asyncio.Future[Sequence[Row]] = loop.create_future()
        self._waiting.setdefault(record_id, []).append(future)
        if len(self._waiting) > self._planned * _MAX_IDS:
            self._planned += 1
            batch = _Batch()
            running = self._executor.spawn(self._run(batch, loop.time() + self._executor.timeout))
            running.add_done_callback(lambda task: self._finish(batch, task))
        return await future

    async def _run(self, batch: _Batch, deadline: float) -> list[Row]:
        await asyncio.sleep(0)  # reads of the same tick join the query, also if the loop starts tasks eagerly

        def arguments() -> tuple[Any, ...]:
            self._fill(batch)
            return ([*batch], *self._others)

        return await self._executor.fetch_lazily(self._query, arguments, deadline=deadline)

    def _fill(self, batch: _Batch) -> None:
        """Move waiting ids to a batch, unless that was done."""
        if not batch:
            self._planned -= 1
            for record_id in [*self._waiting][:_MAX_IDS]:
                batch[record_id] = self._waiting.pop(record_id)

    def _finish(self, batch: _Batch, task: asyncio.Task[list[Row]]) -> None:
        self._fill(batch)
        failure = None if task.cancelled() else task.exception()
        found: dict[str, list[Row]] = {}
        if not task.cancelled() and failure is None:
            for record_id, *row in task.result():
                found.setdefault(record_id, []).append(tuple(row))
        for record_id, futures in batch.items():
            for future in futures:
                if future.done():
                    continue
                if task.cancelled():
                    future.cancel()
                elif failure is None:
                    future.set_result(found.get(record_id, ()))
                else:
                    future.set_exception(_duplicate(failure))


def _duplicate(error: BaseException) -> BaseException:
    """Return a copy of an error for one of its callers, because tracebacks accumulate on the instance."""
    duplicate = copy.copy(error)
    duplicate.__cause__ = error.__cause__
    return duplicate
