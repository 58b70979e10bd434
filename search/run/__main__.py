"""Lets ``python -m search.run`` start the command."""

from search.run import app

app()
