"""What breaks a connection or a server on purpose, and what tells whether a store told the truth about it."""
