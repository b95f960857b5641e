"""Connections and statements. Nothing here knows of rooms, except the names of the tables and functions."""
