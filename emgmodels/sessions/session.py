"""What a session is in memory: signal, keys, prompts, and the labels that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emgmodels import charset
from emgmodels.config import SAMPLE_RATE
from emgmodels.sessions.timing import gap_remark
from emgmodels.sessions.units import scale_of, unit_remark

ON_KEYBOARD = "on_keyboard"
"""The condition whose ground truth is the keys pressed; every other has the prompts shown."""


@dataclass(frozen=True)
class Keystroke:
    """One key: pynput's name, when it was pressed and released (absolute unix seconds)."""

    key: str
    start: float
    end: float


@dataclass(frozen=True)
class Prompt:
    """One text shown to the typist, and when (absolute unix seconds)."""

    name: str
    start: float
    end: float
    text: str | None


@dataclass(frozen=True, eq=False)
class Labels:
    """What was typed, as labels with times.

    Attributes:
        label: (K,) int64, labels of ``charset``.
        start: (K,) float64, absolute unix seconds, non-decreasing: when the key was pressed, or
            when the prompt began that the character belongs to.
        end: (K,) float64, absolute unix seconds: when the key was released, or the prompt ended.
        has_key_times: False where the ground truth is prompts.
    """

    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    has_key_times: bool


@dataclass(frozen=True, eq=False)
class Session:
    """One recorded session.

    Attributes:
        name: Name of the session, also of its file.
        user: The subject.
        condition: How was typed; it decides what the ground truth is (``ON_KEYBOARD``).
        duration_mins: Length as the recorder noted it (minutes).
        time: (T,) float64, absolute unix seconds, non-decreasing, at 2 kHz.
        emg: (T, 2, 16) float32, bands left and right, in the unit of the file.
        keystrokes: The keys pressed.
        prompts: The prompts shown.
        notes: What its file lacks, or what was left out of it, though nothing needed was lost.
    """

    name: str
    user: str
    condition: str
    duration_mins: float
    time: np.ndarray
    emg: np.ndarray
    keystrokes: tuple[Keystroke, ...]
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """What models multiply the EMG by: 1 unless its unit can't be microvolts."""
        return scale_of(self.emg)

    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know: notes of reading, keys that are not used, gaps, a unit
        other than microvolts.
        """
        unused = ""
        if self.keystrokes and self.condition != ON_KEYBOARD:
            unused = (
                f"its keystrokes are not learnt from, since its condition is {self.condition!r} "
                f"and not {ON_KEYBOARD!r}: its prompts are the ground truth"
            )
        found = (unused, *self.notes, gap_remark(self.time), unit_remark(self.scale))
        return tuple(filter(None, found))

    @property
    def duration(self) -> float:
        """From the first sample to the end of the last (s)."""
        return float(self.time[-1] - self.time[0]) + 1 / SAMPLE_RATE

    @property
    def rate(self) -> float:
        """Samples a second (Hz), on average."""
        return (len(self.time) - 1) / float(self.time[-1] - self.time[0])

    def labels(self) -> Labels:
        """Return the ground truth: the keys pressed, or the prompts, each ended by an enter.

        Keys and characters outside the charset are left out.
        """
        has_key_times = self.condition == ON_KEYBOARD
        rows = list(self._key_rows() if has_key_times else self._prompt_rows())
        rows.sort(key=lambda row: row[1])
        label, start, end = zip(*rows, strict=True) if rows else ((), (), ())
        return Labels(
            label=np.array(label, dtype=np.int64),
            start=np.array(start, dtype=np.float64),
            end=np.array(end, dtype=np.float64),
            has_key_times=has_key_times,
        )

    def _key_rows(self) -> Iterator[tuple[int, float, float]]:
        for keystroke in self.keystrokes:
            label = charset.label_of(keystroke.key)
            if label is not None:
                yield label, keystroke.start, keystroke.end

    def _prompt_rows(self) -> Iterator[tuple[int, float, float]]:
        enter = charset.label_of("Key.enter")
        assert enter is not None
        for prompt in self.prompts:
            if prompt.text is None:
                continue
            labels = charset.encode(prompt.text)
            if labels[-1:] != [enter]:
                labels.append(enter)
            for label in labels:
                yield label, prompt.start, prompt.end


@dataclass(frozen=True)
class SessionInfo:
    """What a session file says of itself, known without reading its EMG.

    Attributes:
        name: Name of the session.
        user: The subject.
        condition: How was typed.
        start: Time of the first sample (absolute unix seconds).
        duration: From the first sample to the end of the last (s).
        samples: EMG samples of each electrode.
        keys: Keystrokes in the file, also those outside the charset.
        prompts: Prompts in the file, also those without text.
        is_user_known: Whether the file names the user; if not, its folder's name stands in.
    """

    name: str
    user: str
    condition: str
    start: float
    duration: float
    samples: int
    keys: int
    prompts: int
    is_user_known: bool = True
