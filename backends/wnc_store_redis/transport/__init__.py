"""Connections to Redis: keys, commands and replies, and nothing of rooms."""
