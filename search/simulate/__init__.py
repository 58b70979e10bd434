"""Replays recorded learning curves through the schedulers that steer a search."""
