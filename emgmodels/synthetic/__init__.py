"""A synthetic typist: session files like emg2qwerty's, of typing that nobody did.

For demonstrations, tests and benchmarks where no recording is at hand. Error rates reached on it
rank architectures on this simulation and say nothing about people. To write six sessions:

    python -m emgmodels.synthetic data/ --sessions 6 --minutes 3

``text`` makes English sentences, ``typist`` presses the keys, ``forearm`` turns presses into EMG;
each says where its numbers come from. The sizes that nobody has published are chosen so that
decoding is a miniature of the real task. Two bidirectional GRU layers of 96 units, trained for 20
epochs on 16 minutes at 31 frames a second, miss about 15 % of the characters of a session that they
have not seen. Fewer electrodes cost: fingers are told apart worse with 8 of a band than with 16,
and worse again with 4. And context helps, since which muscles press a key depends on where the
hand was before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.synthetic.writing import (
        VERSION,
        generate_session,
        names_of,
        write_subject,
        write_subjects,
    )

__all__ = ["VERSION", "generate_session", "names_of", "write_subject", "write_subjects"]

__getattr__ = offered(__name__, dict.fromkeys(__all__, "emgmodels.synthetic.writing"))
