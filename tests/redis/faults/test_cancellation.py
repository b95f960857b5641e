"""Callers that are cancelled at random moments."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chaos.server import DurableServer, admin, quiet
from proxy import proxy_to
from waiting import wait_until
from wnc_store import OutcomeUnknownError, StoreUnavailableError, open_store
from wnc_store_contract.factories import message


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_cancellation_leaks_no_connection(server: DurableServer) -> None:
    """After thousands of cancelled calls, neither a connection nor an open file is left."""
    async with admin(server.url) as client, proxy_to(server.port) as proxy:
        await client.ping()
        files = _open_files()
        async with open_store(proxy.url) as store:
            for turn in range(20):
                calls = [asyncio.ensure_future(store.chat.add_message(message(n, f"C{turn}"))) for n in range(100)]
                for _ in range(5 * (turn % 4)):
                    await asyncio.sleep(0)
                if turn % 5 == 0:
                    proxy.cut_all("reset")
                for call in calls:
                    call.cancel()
                ended = await asyncio.gather(*calls, return_exceptions=True)
                kinds = {type(one) for one in ended}
                assert kinds <= {type(None), asyncio.CancelledError, OutcomeUnknownError, StoreUnavailableError}
            assert len(await client.client_list()) <= 34
        await wait_until(lambda: proxy.open_connections == 0)
        await quiet(client)
        await wait_until(lambda: _open_files() <= files)
