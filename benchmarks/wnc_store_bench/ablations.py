"""Ablations: variants of wnc-store with one change each, compared with the unchanged library.

To add an ablation, add a `Variant`. Each variant runs in its own process, so it can patch any class.
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
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.processes import Worker, worker
from wnc_store_bench.records import USERS, room_ids
from wnc_store_bench.results import ContentionRow, VariantRow
from wnc_store_bench.server import Target

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """wnc-store with one change.

    Attributes:
        name: a short name.
        what: a description of the change.
        settings: the settings of the store.
        operations: the measured operations.
        uvloop: whether it runs on uvloop instead of asyncio's event loop.
        freezes: whether the process calls `gc.freeze` after all rooms have been cached.
        open: opens the store if the settings are not sufficient.
    """

    name: str
    what: str
    settings: Settings = field(default_factory=dict[str, Any])
    operations: tuple[Operation, ...] = OPERATIONS
    uvloop: bool = False
    freezes: bool = False
    open: Callable[[str, StoreSettings], Store] = lambda url, settings: open_store(url, settings=settings)


UNCHANGED = Variant("unchanged", "no change")
WITHOUT_GROUP_COMMIT = Variant(
    "without group commit",
    "each update of a room is committed separately",
    operations=("add_user_to_room",),
    open=ablation_patches.group_commit,
)
VARIANTS = (
    UNCHANGED,
    Variant("uvloop", "uvloop instead of asyncio's event loop", uvloop=True),
    Variant("frozen", "gc.collect(); gc.freeze() after all rooms have been cached", freezes=True),
    WITHOUT_GROUP_COMMIT,
    Variant(
        "without cached rooms",
        "a room is read before each commit",
        operations=("add_user_to_room",),
        open=ablation_patches.room_seen_last,
    ),
    Variant(
        "without the cache",
        "cache_bytes=0: every reply is parsed, and a room is read before each commit",
        {"cache_bytes": 0},
    ),
    Variant(
        "without append hints",
        "the server searches all kept messages for the id of each new one",
        operations=("add_message",),
        open=ablation_patches.append_hints,
    ),
    Variant("without shared writes", "each command is sent in a separate write", open=ablation_patches.shared_writes),
    Variant("without the transport", "redis-py reads each reply from its stream", open=ablation_patches.transport),
    Variant(
        "one message kept",
        "chat_history_limit=1: one message is kept, read and checked instead of 20",
        {"chat_history_limit": 1},
        operations=("add_message", "get_messages"),
    ),
)


def measurable() -> tuple[Variant, ...]:
    """Return the variants that can be measured with the installed packages."""
    return tuple(variant for variant in VARIANTS if not variant.uvloop or find_spec("uvloop") is not None)


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[VariantRow]:
    """Measure all variants in turn, each in a new process with its own rooms."""
    variants = measurable()
    progress("rooms for the variants")
    for variant in variants:
        await WNC.seed(target.of(variant.name), room_ids(options.load.rooms), USERS)
    rows: list[VariantRow] = []
    for number in range(1, options.rounds + 1):
        for variant in variants:
            progress(f"variants: {variant.name}, round {number} of {options.rounds}")
            load = replace(options.load, seed=number)
            async with _contender(variant).open(target.of(variant.name)) as session:
                rows += [
                    await _row(session, variant, operation, load, number, options)
                    for operation in options.operations or OPERATIONS
                    if operation in variant.operations
                ]
    return rows


async def measure_contention(target: Target, options: Options, progress: ProgressCallback) -> list[ContentionRow]:
    """Measure concurrent joins of one room by all callers, with and without group commit."""
    contenders = tuple(map(_contender, (UNCHANGED, WITHOUT_GROUP_COMMIT)))
    options = replace(options, contenders=contenders, joins=options.load.callers)
    return await contention.measure(target.of("contention"), options, progress, processes=1)


def _contender(variant: Variant) -> Contender:
    def start(name: str, target: Target) -> AbstractAsyncContextManager[Worker]:
        return worker("variant", variant=name, uvloop=variant.uvloop, target=asdict(target))

    return replace(WNC, name=variant.name, what=variant.what, start=start)


async def _row(  # noqa: PLR0913, PLR0917 - the fields of a row
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
    """Run the process of a variant."""
    variant = next(variant for variant in VARIANTS if variant.name == options["variant"])
    target = Target(**options["target"])
    async with variant.open(target.url, StoreSettings(key_prefix=target.prefix, **variant.settings)) as store:
        await serve(StoreClient(store), exchange)
