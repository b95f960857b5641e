"""The store that the parts of an app share: `get_store` and `store_lifespan`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from wnc_store.base.lifecycle import ensure_asyncio
from wnc_store.clock import Clock
from wnc_store.errors import StoreError
from wnc_store.factory import open_store
from wnc_store.protocols import Store
from wnc_store.settings import StoreSettings


@dataclass(eq=False)
class _SharedStores:
    """The shared stores of an event loop.

    Attributes:
        opened: The stores that `get_store` has opened without `store_lifespan`. The last one is used.
        of_lifespans: The stores of the blocks of `store_lifespan` that are active. The last open one is used.
        closer: Closes the opened stores when the event loop ends, because event loops close the generators that they
            started.
        lifespan_ended: Whether a block of `store_lifespan` has ended.
    """

    opened: list[Store]
    closer: AsyncGenerator[None]
    of_lifespans: list[Store] = field(default_factory=list[Store])
    lifespan_ended: bool = False


# The process is part of the key, because a forked process must not use the connections of its parent.
_shared: dict[tuple[int, asyncio.AbstractEventLoop], _SharedStores] = {}


async def get_store() -> Store:
    """Return the store of the running app: the store that `store_lifespan` has opened in this event loop.

    In an event loop without `store_lifespan`, the first call opens a store with `open_store()`. It is closed when the
    event loop ends, for example at the end of `asyncio.run`.

    The function is a dependency of web frameworks: `Depends(get_store)` in FastAPI, `Provide(get_store)` in Litestar.

    Raises:
        ConfigurationError, ImportError: See `open_store`.
        StoreError: No event loop of asyncio is running. Or the block of `store_lifespan` has ended, or its store is
            closed: another store could have another URL.
    """
    shared = await _shared_stores()
    if shared.of_lifespans or shared.lifespan_ended:
        active = [store for store in shared.of_lifespans if not store.closed]
        if not active:
            message = "the store of store_lifespan is closed: call get_store() before the app shuts down"
            raise StoreError(message)
        return active[-1]
    if not shared.opened or shared.opened[-1].closed:
        shared.opened[:] = [open_store()]
    return shared.opened[-1]


@asynccontextmanager
async def store_lifespan(
    _app: object = None,
    *,
    url: str | None = None,
    settings: StoreSettings | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[None]:
    """Open a store for `get_store`, and close it at the end of the block.

    This is a lifespan of Starlette, FastAPI and Litestar: `FastAPI(lifespan=store_lifespan)`. To pass arguments, use
    `functools.partial(store_lifespan, settings=...)`. A test can use it in place of the app's lifespan.

    Until the block ends, `get_store` returns this store in this event loop. If several blocks are active, it returns
    the store that was opened last. After all blocks have ended, `get_store` raises an error until another block begins.

    Args:
        _app: The app, which is not used.
        url: See `open_store`.
        settings: See `open_store`.
        clock: See `open_store`.

    Raises:
        ConfigurationError, ImportError: See `open_store`.
        StoreError: No event loop of asyncio is running. Or `get_store` was called before and its store is open, so that
            parts of the app would use different stores.
    """
    shared = await _shared_stores()
    if any(not store.closed for store in shared.opened):
        message = (
            "get_store() has already opened another store in this event loop: begin store_lifespan before the first "
            "call of get_store(), or close that store"
        )
        raise StoreError(message)
    async with open_store(url, settings=settings, clock=clock) as store:
        shared.of_lifespans.append(store)
        try:
            yield
        finally:
            shared.of_lifespans.remove(store)
            shared.lifespan_ended = True


async def _shared_stores() -> _SharedStores:
    """Return the list of the shared stores of this event loop."""
    ensure_asyncio()
    key = os.getpid(), asyncio.get_running_loop()
    if key not in _shared:
        for other in list(_shared):  # a copy, because other threads have event loops, too
            if other[1].is_closed():
                _shared.pop(other, None)
        stores: list[Store] = []
        _shared[key] = _SharedStores(stores, closer := _close_with_loop(stores))
        await anext(closer)
    return _shared[key]


async def _close_with_loop(stores: list[Store]) -> AsyncGenerator[None]:
    """Close the stores when the event loop closes this generator, the last one first.

    A store that fails to close does not keep the others open. The event loop reports the errors, each in the context of
    the next one.
    """
    try:
        yield
    finally:
        async with AsyncExitStack() as stack:
            for store in stores:
                stack.push_async_callback(store.aclose)
