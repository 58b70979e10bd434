"""What is worth another try."""

from __future__ import annotations

import pytest

from search.engine.failures import may_pass


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a primitive"), True),
        (OSError("Stale file handle"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("too few frames"), False),
    ],
)
def test_what_others_may_have_caused_is_tried_again(error, passes):
    assert may_pass(error) is passes
