"""A contender: its name, what it can do, and how it is opened on a place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from wnc_store_bench.load import OPERATIONS, Client, Crowd, Load, Operation, Sample, closed_loop, crowd
from wnc_store_bench.server import Place


class Session(Protocol):
    """An opened contender. Its load runs in its own runtime: Python's in this process, Node's in Node."""

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """Do one kind of operation with all callers for so many seconds."""
        ...

    async def crowd(self, room_id: str, user_ids: Sequence[str], bound: float) -> Crowd:
        """Let all users join one room at once; stop waiting after `bound` seconds."""
        ...


class Opener(Protocol):
    """How a contender is opened."""

    def __call__(self, place: Place) -> AbstractAsyncContextManager[Session]:
        """Open it on the data of a place, and close it in the end."""
        ...


class Seeder(Protocol):
    """How a contender's data comes to its place."""

    async def __call__(self, place: Place, room_ids: Sequence[str], users: int) -> None:
        """Write rooms of so many users, each with 20 messages, in place of what is there."""
        ...


class Looker(Protocol):
    """How a contender's data is looked into."""

    async def __call__(self, place: Place, room_id: str) -> list[str]:
        """Return the ids of the users that are stored in a room."""
        ...


@dataclass(frozen=True)
class Contender:
    """What is measured.

    Attributes:
        name: short, as the command line takes it.
        what: one line on how it works, with all that was chosen for it.
        open: opens it.
        seed: writes the data that it works on.
        users: looks into its data.
        operations: what it can do.
        keeps_all: whether it claims that no join is lost among many at once.
    """

    name: str
    what: str
    open: Opener
    seed: Seeder
    users: Looker
    operations: tuple[Operation, ...] = OPERATIONS
    keeps_all: bool = False


class PythonSession:
    """A contender in this process."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """See `Session.load`."""
        return await closed_loop(self._client, operation, load, seconds)

    async def crowd(self, room_id: str, user_ids: Sequence[str], bound: float) -> Crowd:
        """See `Session.crowd`."""
        await self._client.get_room(room_id)  # the first one connects
        return await crowd(self._client, room_id, user_ids, bound)


def in_python(connect: Callable[[Place], AbstractAsyncContextManager[Client]]) -> Opener:
    """Return the opener of a contender that is a client in Python."""

    @asynccontextmanager
    async def opened(place: Place) -> AsyncGenerator[Session]:
        async with connect(place) as client:
            yield PythonSession(client)

    return opened
