"""Presence: which users of a room are connected, across all processes.

**Membership.** The first connection adds the user to the room. The user leaves the room when the last connection has
been closed for the grace period, on whichever processes the connections were. Reloading a page therefore changes
nothing. `Presence` only removes tracked users: users whom `Presence.connected` or `tracked` has marked with the extra
field `presence`. Users whom another client added, such as the Node app, stay. A user who was removed from the room, for
example kicked, is not added again by an open connection.

**Connecting during a removal.** A user who connects while the user is being removed waits until the removal has ended,
and then joins again. If the removal has deleted the room, connecting raises `RoomNotFoundError`. If the process that
removes the user crashes in between, or the outcome of its write is unknown, the wait lasts up to 30 s. This requires an
`operation_timeout` of at most 9 s.

**Crashes.** Each connection holds a lease in `store.connections` that lasts the grace period. Its process renews the
lease three times per grace period. If a process ends without closing its connections, their leases end. Another process
then finds the users absent in two sweeps and removes them, at most two grace periods after the crash.

**Sweeps.** One process at a time sweeps the rooms of the store every half grace period, at most 200 rooms per second. A
sweep reads each room once, 20 rooms in one call, and the leases of its tracked users. If there are more rooms, a sweep
takes longer.

**Outages.** An error of the store never ends a connection. It is logged once, and the leases are renewed when the store
is available again. After a failed sweep, users are again removed only if two sweeps find them absent. With
`limits_on_unavailable="memory"`, the grace period must be longer than twice `operation_timeout`: for that time after an
outage, a process may not see the leases of the others.

**Shutdown.** Leaving the context stops the background tasks and removes nobody. The users of this process have the
grace period to reconnect to another process. If no process is left, users stay in their rooms until a process starts or
the room expires. After the start, users have the grace period to reconnect.
"""

from wnc_store.presence.connection import Connection
from wnc_store.presence.membership import tracked
from wnc_store.presence.presence import Presence

__all__ = ["Connection", "Presence", "tracked"]
