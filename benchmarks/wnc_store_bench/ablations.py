"""What each technique brings: wnc-store with one thing changed, against wnc-store as it is.

To add one, add a `Variant`. Each runs in a process of its own, so that it may change whatever it likes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from wnc_store import Store, StoreSettings, open_store
from wnc_store_bench import ablation_patches, contention
from wnc_store_bench.contenders import WNC, Contender, Session
from wnc_store_bench.contenders.session import Exchange, serve
from wnc_store_bench.contenders.wnc import StoreClient
from wnc_store_bench.load import OPERATIONS, Load, Operation
from wnc_store_bench.options import Options, Tell
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.records import USERS, room_ids
from wnc_store_bench.results import CrowdRow, VariantRow
from wnc_store_bench.server import Place

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """wnc-store with something changed.

    Attributes:
        name: short.
        what: what is changed.
        settings: given to the store.
        operations: what it is measured on.
        uvloop: run on uvloop instead of asyncio's own loop.
        freezes: tell Python's garbage collector, once the rooms have been seen, not to look through what is there.
        open: opens the store, where settings are not enough.
    """

    name: str
    what: str
    settings: Settings = field(default_factory=dict[str, Any])
    operations: tuple[Operation, ...] = OPERATIONS
    uvloop: bool = False
    freezes: bool = False
    open: Callable[[str, StoreSettings], Store] = lambda url, settings: open_store(url, settings=settings)


AS_IT_IS = Variant("as it is", "nothing is changed")
WITHOUT_GROUP_COMMIT = Variant(
    "without group commit",
    "each change of a room is committed by itself",
    operations=("add_user_to_room",),
    open=ablation_patches.group_commit,
)
VARIANTS = (
    AS_IT_IS,
    Variant("uvloop", "uvloop instead of asyncio's own loop", uvloop=True),
    Variant("frozen", "gc.collect(); gc.freeze() when all rooms have been seen", freezes=True),
    WITHOUT_GROUP_COMMIT,
    Variant(
        "without the room seen last",
        "a room is read before each commit",
        operations=("add_user_to_room",),
        open=ablation_patches.room_seen_last,
    ),
    Variant(
        "without the cache",
        "cache_bytes=0: everything is parsed, rooms are read before each commit",
        {"cache_bytes": 0},
    ),
    Variant(
        "without append hints",
        "the server looks through the kept messages for the id of each new one",
        operations=("add_message",),
        open=ablation_patches.append_hints,
    ),
    Variant("without shared writes", "each command goes in a write of its own", open=ablation_patches.shared_writes),
    Variant("without the transport", "redis-py reads each reply from its stream", open=ablation_patches.transport),
    Variant(
        "one message kept",
        "chat_history_limit=1: one message is kept, read and checked, not 20",
        {"chat_history_limit": 1},
        operations=("add_message", "get_messages"),
    ),
)


def measurable() -> tuple[Variant, ...]:
    """Return the variants that can be measured with what is installed."""
    return tuple(variant for variant in VARIANTS if not variant.uvloop or find_spec("uvloop") is not None)


async def measure(place: Place, options: Options, tell: Tell) -> list[VariantRow]:
    """Measure all variants in turn, each in a new process on rooms of its own."""
    variants = measurable()
    tell("rooms for the variants")
    for variant in variants:
        await WNC.seed(place.of(variant.name), room_ids(options.load.rooms), USERS)
    rows: list[VariantRow] = []
    for number in range(1, options.rounds + 1):
        for variant in variants:
            tell(f"variants: {variant.name}, round {number} of {options.rounds}")
            load = replace(options.load, seed=number)
            async with _contender(variant).open(place.of(variant.name)) as session:
                rows += [
                    await _row(session, variant, operation, load, number, options)
                    for operation in options.operations or OPERATIONS
                    if operation in variant.operations
                ]
    return rows


async def measure_crowd(place: Place, options: Options, tell: Tell) -> list[CrowdRow]:
    """Let as many as there are callers join one room at once, with group commit and without."""
    able = tuple(map(_contender, (AS_IT_IS, WITHOUT_GROUP_COMMIT)))
    options = replace(options, contenders=able, crowd=options.load.callers)
    return await contention.measure(place.of("crowd"), options, tell, processes=1)


def _contender(variant: Variant) -> Contender:
    def start(name: str, place: Place) -> AbstractAsyncContextManager[Worker]:
        return worker("variant", variant=name, uvloop=variant.uvloop, place=asdict(place))

    return replace(WNC, name=variant.name, what=variant.what, start=start)


async def _row(  # noqa: PLR0913, PLR0917 - what a row is made of
    session: Session, variant: Variant, operation: Operation, load: Load, number: int, options: Options
) -> VariantRow:
    await session.warm_up(operation, load, options.warm_up)
    if variant.freezes:
        await session.freeze()
    sample = await session.load(operation, load, options.seconds)
    rate = sample.operations / sample.seconds
    return VariantRow(
        variant=variant.name, operation=operation, round=number, ops_per_second=rate, p99_ms=sample.p99_ms
    )


async def serve_variant(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Be the process of a variant."""
    variant = next(one for one in VARIANTS if one.name == options["variant"])
    place = Place(**options["place"])
    async with variant.open(place.url, StoreSettings(key_prefix=place.prefix, **variant.settings)) as store:
        await serve(StoreClient(store), exchange)
