"""What several test modules share, beside the fixtures of ``conftest.py``."""
