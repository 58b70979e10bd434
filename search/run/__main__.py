"""Lets ``python -m search.run`` start the command."""

from search.run.command import app

if __name__ == "__main__":
    app()
