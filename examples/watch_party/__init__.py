"""A watch party in the browser, based on wnc-store."""
