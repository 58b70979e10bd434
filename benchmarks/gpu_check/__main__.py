"""Runs one item in this process: ``python -m benchmarks.gpu_check ITEM ORDER``; see ``runner``."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.gpu_check import ITEMS, SEARCH
from benchmarks.gpu_check.check import open_check

if __name__ == "__main__":
    item = {**ITEMS, "search": SEARCH}[sys.argv[1]]
    importlib.import_module(item.module).run(open_check(json.loads(sys.argv[2])))
