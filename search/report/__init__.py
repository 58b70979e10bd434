"""Reads run folders and says what a search found: tables, figures, one page.

    python -m search.report runs/deep-001
    python -m search.report runs/deep-001 runs/deep-002 --out comparison

Nothing here needs the search: it may be running, over, or on another machine.
"""
