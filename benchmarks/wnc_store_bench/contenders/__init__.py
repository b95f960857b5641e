"""What is compared: each contender on data of its own, all of them under the same load."""

from wnc_store_bench.contenders.libraries import AIOCACHE, CASHEWS, KEY_VALUE
from wnc_store_bench.contenders.node import IOREDIS, IOREDIS_AUTO
from wnc_store_bench.contenders.redis_py import LOCK, ORIGINAL, WATCH
from wnc_store_bench.contenders.session import Contender, Session
from wnc_store_bench.contenders.wnc import WNC

CONTENDERS = {
    contender.name: contender
    for contender in (WNC, ORIGINAL, WATCH, LOCK, IOREDIS, IOREDIS_AUTO, KEY_VALUE, AIOCACHE, CASHEWS)
}

__all__ = ["CONTENDERS", "IOREDIS", "IOREDIS_AUTO", "LOCK", "ORIGINAL", "WATCH", "WNC", "Contender", "Session"]
