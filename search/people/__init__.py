"""What a model of many people is worth to one it has never seen, and what own sessions add."""
