"""``ray submit cluster/onprem.yaml cluster/submit.py OPTIONS``: search.run on the head, all nodes.

Options are those of ``python -m search.run``. Ray copies this file to the head and starts it there
with whatever ``python`` is; from then on it is the project's own.
"""

import os
import sys

os.chdir(os.path.expanduser("~/emgsearch"))
python = ".venv/bin/python"
os.execv(python, [python, "-m", "search.run", *sys.argv[1:], "--address", "auto"])
