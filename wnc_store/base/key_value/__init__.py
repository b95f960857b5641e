"""A whole store on a key-value database with transactions."""

from wnc_store.base.key_value.database import KeyValueDatabase, KeyValueEntry, KeyValueTransaction
from wnc_store.base.key_value.store import KeyValueStore

__all__ = ["KeyValueDatabase", "KeyValueEntry", "KeyValueStore", "KeyValueTransaction"]
