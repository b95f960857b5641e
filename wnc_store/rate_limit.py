"""Keys and results of rate limiters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class RateLimitDecision:
    """Whether a hit is within the limit, and the state of its window.

    Attributes:
        allowed: Whether the hit is within the limit.
        limit: Largest number of hits per window.
        remaining: Number of further hits that this window allows.
        retry_after: Time until the next window can start. Zero if the hit is allowed.
        reset_after: Time until this window ends and its count is deleted. Zero outside a window.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: timedelta
    reset_after: timedelta

    @classmethod
    def of(cls, count: int, limit: int, reset_after: timedelta, *, allowed: bool) -> RateLimitDecision:
        """Return the decision for a window with `count` hits that ends after `reset_after`."""
        return cls(allowed, limit, max(0, limit - count), timedelta(0) if allowed else reset_after, reset_after)


def client_key(address: str, *, ipv6_prefix: int = 64) -> str:
    """Return the key under which a client with this IP address is counted, for connections and rate limits.

    All spellings of an address have the same key. An IPv6 address that contains an IPv4 address (`::ffff:192.0.2.1`,
    `64:ff9b::192.0.2.1`) has the key of the IPv4 address. Other IPv6 addresses have the key of their network, because
    a client can use any address of its network: `2001:db8::1` and `2001:db8::2` both become `2001:db8::`.

    Args:
        address: The address, with or without a zone (`fe80::1%eth0`). Text that is not an address is returned as is.
        ipv6_prefix: Length of the network's prefix in bits. 128 counts each IPv6 address separately.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed in _NAT64:
            return str(IPv4Address(parsed.packed[-4:]))
        return str(parsed.ipv4_mapped or IPv6Network((parsed.packed, ipv6_prefix), strict=False).network_address)
    return str(parsed)
