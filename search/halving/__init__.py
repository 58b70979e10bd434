"""Decisions of successive halving, without Ray: rungs, which trials go on, which stop."""
