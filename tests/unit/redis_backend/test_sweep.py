"""A sweep that fails after it has removed entries."""

from __future__ import annotations

from typing import Any, cast

import pytest

from wnc_store import OutcomeUnknownError, StoreError, StoreSettings, StoreUnavailableError, SystemClock
from wnc_store.base import Lifecycle
from wnc_store_redis.keys import Keys
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.statistics import Statistics

REFUSED = StoreUnavailableError("refused")
LOST = OutcomeUnknownError("lost")
Outcome = int | StoreError


class FakeExecutor:
    """An executor whose index has a page of one entry for each outcome, on a cluster in buckets of the same round trip.

    Args:
        outcomes: the result of each SWEEP. An index on a single server ends with an error of SSCAN if the last is None.
    """

    statistics = Statistics()

    def __init__(self, *outcomes: Outcome | None) -> None:
        self._outcomes = list(outcomes)
        self._pages = len(outcomes)

    async def read(self, _command: bytes, _index: bytes, *_arguments: bytes) -> Any:
        """Return the next page of the index, or an empty one."""
        self._pages -= 1
        if self._pages == 0 and self._outcomes[-1] is None:
            raise REFUSED
        return [b"1" if self._pages > 0 else b"0", [b"A"] if self._pages >= 0 else []]

    async def run_script(self, *_arguments: Any) -> int:
        """Return or raise the next outcome."""
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, int):
            return outcome
        assert outcome is not None
        raise outcome

    def server_epoch(self, _key: bytes) -> int:
        """The server never changes."""
        return 0


async def sweep(*outcomes: Outcome | None, is_bucketed: bool) -> int:
    """Sweep on a single server, or on a cluster."""
    commands = cast("CommandExecutor", FakeExecutor(*outcomes))
    keys = Keys("", 0, is_bucketed=is_bucketed)
    return await RedisRoomStore(commands, keys, StoreSettings(), SystemClock(), Lifecycle()).sweep_active_rooms()


@pytest.mark.parametrize("is_bucketed", [False, True], ids=["pages", "buckets"])
@pytest.mark.parametrize("outcomes", [(2, REFUSED), (2, LOST)])
async def test_an_error_after_a_removal_has_an_unknown_outcome(
    outcomes: tuple[Outcome, ...], *, is_bucketed: bool
) -> None:
    """A sweep that has removed entries and then fails raises OutcomeUnknownError with the number of removed entries."""
    with pytest.raises(OutcomeUnknownError, match="2 entries of expired rooms were removed"):
        await sweep(*outcomes, is_bucketed=is_bucketed)


async def test_a_failed_read_after_a_removal_has_an_unknown_outcome() -> None:
    """If the next page of the index cannot be read, the outcome of the sweep is unknown."""
    with pytest.raises(OutcomeUnknownError, match="2 entries of expired rooms were removed before an error: refused"):
        await sweep(2, None, is_bucketed=False)


async def test_the_other_buckets_of_a_failed_sweep_are_awaited() -> None:
    """If the sweep of one bucket is refused, those of the other buckets end first, and their entries count."""
    with pytest.raises(OutcomeUnknownError, match="3 entries of expired rooms were removed"):
        await sweep(REFUSED, 1, 2, is_bucketed=True)


async def test_a_lost_reply_prevails_over_a_refusal() -> None:
    """If one bucket is refused and the reply of another is lost, the outcome of the sweep is unknown."""
    with pytest.raises(OutcomeUnknownError, match="lost"):
        await sweep(REFUSED, LOST, is_bucketed=True)


@pytest.mark.parametrize("outcomes", [(REFUSED,), (0, REFUSED), (0, None)])
async def test_a_sweep_that_removed_nothing_is_refused(outcomes: tuple[Outcome | None, ...]) -> None:
    """A sweep that has certainly removed nothing raises the error of its last step."""
    with pytest.raises(StoreUnavailableError) as caught:
        await sweep(*outcomes, is_bucketed=False)
    assert caught.value is REFUSED


class FlappingExecutor(FakeExecutor):
    """An executor whose connection is lost after each page of an endless index."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    async def read(self, _command: bytes, _index: bytes, *_arguments: bytes) -> Any:
        """Return a page that is not the last one."""
        return [b"1", []]

    def server_epoch(self, _key: bytes) -> int:
        """Every call finds another connection."""
        self.lost += 1
        return self.lost

    def to_store_error(self, error: BaseException, _key: bytes) -> StoreError:
        """Return the error of a lost connection."""
        return StoreUnavailableError(str(error))


async def test_a_listing_over_a_connection_that_is_lost_again_and_again_ends() -> None:
    """A listing that starts again after each lost connection ends with an error."""
    commands = FlappingExecutor()
    rooms = RedisRoomStore(cast("CommandExecutor", commands), Keys("", 0), StoreSettings(), SystemClock(), Lifecycle())
    with pytest.raises(StoreUnavailableError, match="lost faster than the index can be read"):
        await anext(rooms.active_room_ids())
    assert commands.lost == 22  # two pages for each of eleven scans
