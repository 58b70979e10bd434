"""File names that come from YAML, from data or from storage stay in the folder they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from emgmodels.sessions.splits import find_split
from search.results.folder import RunFolder
from search.space.settings import Name
from search.storage import local_file

NAMES = st.text(st.sampled_from("ab./\\~%\0\n -:") | st.characters(), max_size=12)
MANY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(NAMES)
@example("..")
@example("../up")
@example("/etc")
@example(".")
def test_a_run_folder_lies_where_run_folders_are_made(tmp_path, name):
    try:
        valid = TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return
    path = RunFolder.create(tmp_path, valid).path
    assert path.resolve().parent == tmp_path.resolve()


@MANY
@given(NAMES)
@example("../s0")
@example("/etc/passwd")
@example("..")
def test_a_session_of_a_split_file_is_one_of_the_folder(session_paths, tmp_path, name):
    inside = tmp_path / "data"
    inside.mkdir(exist_ok=True)
    if not (inside / "s1.hdf5").exists():
        for path in session_paths[1:]:
            (inside / path.name).write_bytes(path.read_bytes())
        (tmp_path / "s0.hdf5").write_bytes(session_paths[0].read_bytes())
    entry = [{"user": "12345678", "session": name}]
    split = {
        "user": "12345678",
        "dataset": {"train": entry, "val": [{**entry[0], "session": "s2"}]},
    }
    file = tmp_path / "split.yaml"
    file.write_text(yaml.safe_dump(split))
    try:
        found = find_split(inside, None, file)
    except ValueError:
        return
    assert all(Path(path).resolve().parent == inside.resolve() for path in found.train)


def test_yaml_that_would_run_code_is_refused(tmp_path):
    file = tmp_path / "split.yaml"
    file.write_text("!!python/object/apply:os.system ['touch x']")
    with pytest.raises(ValueError, match="not YAML"):
        find_split(_with_a_session(tmp_path), None, file)
    assert not (tmp_path / "x").exists()


def test_an_object_of_a_store_cannot_leave_the_cache(monkeypatch, tmp_path):
    """A key may hold two dots; a file system would follow them."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "x").write_text("content")
    import pyarrow.fs

    from search.storage import Place

    monkeypatch.setattr(
        Place, "open", lambda self: (pyarrow.fs.LocalFileSystem(), str(store / "x"))
    )
    with pytest.raises(ValueError, match=r"\.\."):
        local_file("s3://bucket/a/../../../x")


def _with_a_session(folder: Path) -> Path:
    (folder / "a.hdf5").touch()
    return folder
