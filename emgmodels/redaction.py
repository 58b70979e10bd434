"""Takes secrets out of what is shown or written: credentials in URIs."""

from __future__ import annotations

import re

_SECRET = re.compile(r"(?<=://)(?:[^/\s@:]+:[^\s@]+|[^/\s@]+)@")
# Object stores also take keys behind the question mark of a URI.
_SECRET_OPTION = re.compile(r"(?i)([\w-]*(?:key|secret|token|password)[\w-]*=)[^&\s]+")


def redact(text: str) -> str:
    """Return a text without the credentials that URIs in it hold.

    >>> redact("s3://KEY:SECRET@bucket/runs")
    's3://***@bucket/runs'
    """
    return _SECRET_OPTION.sub(r"\1***", _SECRET.sub("***@", text))
