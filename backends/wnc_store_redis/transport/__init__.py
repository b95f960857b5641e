"""Connections to Redis: keys, commands and replies. Nothing in this package depends on rooms or chats."""
