"""Run folders in an object store: copied there as they grow, fetched from there.

    python -m search.storage fetch s3://bucket/runs/deep-001
    python -m search.storage list s3://bucket/runs

A search with ``--storage URI`` writes its run folder on the machine that drives it, as ever, and
copies there what changed. Trials write their checkpoints there themselves, from whatever node they
train on, so that the search can go on without the machine that began it. Credentials come from the
provider's usual places (environment, profile, the machine's role), never from the URI.
"""

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
