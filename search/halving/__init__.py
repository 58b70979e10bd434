"""Decisions of successive halving, without Ray: rungs, who goes on, who stops."""
