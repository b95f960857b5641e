"""A watch party in the browser, on wnc-store."""
