"""Session files: one typing session's EMG of both wrists with the keys that were pressed.

``read_session`` and ``write_session`` know the file (emg2qwerty's layout), ``find_split`` chooses
which sessions of a folder are for training, validation and test. To look at files:

    python -m emgmodels.sessions inspect FILE_OR_FOLDER...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.sessions.files import SessionError, read_info, read_session, write_session
    from emgmodels.sessions.finding import find_session_files, session_paths
    from emgmodels.sessions.people import People, read_people
    from emgmodels.sessions.session import Keystroke, Labels, Prompt, Session, SessionInfo
    from emgmodels.sessions.splits import Split, apart, find_split, split_files, split_text

__all__ = [
    "Keystroke",
    "Labels",
    "People",
    "Prompt",
    "Session",
    "SessionError",
    "SessionInfo",
    "Split",
    "apart",
    "find_session_files",
    "find_split",
    "read_info",
    "read_people",
    "read_session",
    "session_paths",
    "split_files",
    "split_text",
    "write_session",
]

_PLACES = {
    "files": ("SessionError", "read_info", "read_session", "write_session"),
    "finding": ("find_session_files", "session_paths"),
    "people": ("People", "read_people"),
    "session": ("Keystroke", "Labels", "Prompt", "Session", "SessionInfo"),
    "splits": ("Split", "apart", "find_split", "split_files", "split_text"),
}
__getattr__ = offered(
    __name__, {name: f"{__name__}.{file}" for file, names in _PLACES.items() for name in names}
)
