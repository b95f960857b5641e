"""Histories of concurrent calls under faults, and their checks: the core of `wnc-store verify --faults`."""
