"""The contenders, each with its own data and under the same load."""

from wnc_store_bench.contenders.node import IOREDIS, IOREDIS_AUTO
from wnc_store_bench.contenders.redis_py import REDIS_PY
from wnc_store_bench.contenders.session import Contender, Session
from wnc_store_bench.contenders.wnc import WNC

CONTENDERS = {contender.name: contender for contender in (WNC, REDIS_PY, IOREDIS, IOREDIS_AUTO)}

__all__ = ["CONTENDERS", "IOREDIS", "IOREDIS_AUTO", "REDIS_PY", "WNC", "Contender", "Session"]
