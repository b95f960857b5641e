"""The clauses, by subject. Each class is a part of `StoreContract`."""
