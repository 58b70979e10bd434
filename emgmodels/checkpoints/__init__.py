"""Every format of weights on disk: read without executing code, and written whole."""
