"""Every order in which a few operations can meet on a server, tried one after the other; see `schedules`."""
