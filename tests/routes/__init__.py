"""The HTTP contract over a real server: every route, every error, hostile photos."""
