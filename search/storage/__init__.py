"""Run folders in an object store: copied there as they grow, fetched from there.

    python -m search.storage fetch s3://bucket/runs/deep-001
    python -m search.storage list s3://bucket/runs

A search with ``--storage URI`` writes its run folder on the machine that drives it, as ever, and
copies there what changed. Trials write their checkpoints there themselves, from whatever node they
train on, so that the search can go on without the machine that began it. Credentials come from the
provider's usual places (environment, profile, the machine's role), never from the URI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from search.storage.fetched import SessionStore, local_file, local_run
    from search.storage.mirror import APPENDED, ENGINE_FOLDER, Mirror, fetch
    from search.storage.place import Place, StoredFile, is_uri, local_path, redact

__all__ = [
    "APPENDED",
    "ENGINE_FOLDER",
    "Mirror",
    "Place",
    "SessionStore",
    "StoredFile",
    "fetch",
    "is_uri",
    "local_file",
    "local_path",
    "local_run",
    "redact",
]

__getattr__ = offered(
    __name__,
    {
        "APPENDED": "search.storage.mirror",
        "ENGINE_FOLDER": "search.storage.mirror",
        "Mirror": "search.storage.mirror",
        "Place": "search.storage.place",
        "SessionStore": "search.storage.fetched",
        "StoredFile": "search.storage.place",
        "fetch": "search.storage.mirror",
        "is_uri": "search.storage.place",
        "local_file": "search.storage.fetched",
        "local_path": "search.storage.place",
        "local_run": "search.storage.fetched",
        "redact": "search.storage.place",
    },
)
