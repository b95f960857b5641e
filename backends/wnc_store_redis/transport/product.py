"""Server products that share the protocol of Redis: their names and URL schemes."""

from __future__ import annotations

import re
from typing import NamedTuple

_REDIS_SCHEME = re.compile(r"\bredis(s?(?:\+[a-z]+)?://)")


class Product(NamedTuple):
    """The product that a URL names.

    Attributes:
        name: the name in messages.
        scheme: the URL scheme of a single server without TLS. The other schemes start with it.
    """

    name: str
    scheme: str

    def localize(self, text: str) -> str:
        """Return a message whose URL schemes of Redis are replaced by those of this product."""
        return _REDIS_SCHEME.sub(rf"{self.scheme}\1", text)


REDIS = Product("Redis", "redis")
VALKEY = Product("Valkey", "valkey")
