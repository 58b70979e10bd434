"""One path or text where several are taken: it is one, and not the letters that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from emgmodels.config import load_config
from emgmodels.language import typed_lines
from emgmodels.outputs import check_output
from emgmodels.paths import local_path, several
from emgmodels.sessions import Split, apart, split_files
from emgmodels.windows.cache import prepare
from search.space import load_space

SPACES = Path(__file__).parents[2] / "spaces"


def test_one_is_several():
    assert several("a=b") == ("a=b",)
    assert several(Path("a")) == (Path("a"),)
    assert several(["a", "b"]) == several(iter("ab")) == ("a", "b")
    assert several(()) == ()


@pytest.mark.parametrize("load", [load_config, load_space])
def test_a_misspelled_file_is_answered_with_one_of_its_folder(load, tmp_path):
    (tmp_path / "deep.yaml").touch()
    missing = "cannot be read: No such file or directory"
    with pytest.raises(ValueError, match=rf"{missing}; did you mean .*deep\.yaml\?$"):
        load(tmp_path / "depe.yaml")
    with pytest.raises(ValueError, match=rf"{missing}$"):
        load(tmp_path / "other.yaml")


def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert local_path("~") == local_path(Path("~/")) == tmp_path
    assert local_path(Path("~/runs/deep-001")) == tmp_path / "runs" / "deep-001"
    for name in ("~old/runs", "runs/~", "a~", "~b"):
        assert local_path(name) == Path(name), "a name like any other"


def test_one_session_is_prepared(session_paths):
    [alone] = prepare(session_paths[0])
    [named] = prepare(str(session_paths[0]))
    [listed] = prepare([str(session_paths[0])])
    assert alone.name == named.name == listed.name == "s0"


def test_one_override_is_one():
    override = "search.trials=3"
    one = load_space(SPACES / "deep.yaml", overrides=override)
    assert one == load_space(SPACES / "deep.yaml", overrides=[override])
    assert one.search.trials == 3


def test_one_text_is_typed_line_by_line():
    assert list(typed_lines("ab\ncd")) == list(typed_lines(["ab\ncd"]))
    assert len(list(typed_lines("ab\ncd"))) == 2


def test_one_subset_is_compared(session_paths):
    split = Split("anna", tuple(session_paths[:1]), tuple(session_paths[:1]), ())
    assert apart(split, "train") == split, "the other subset has not been looked at"
    with pytest.raises(ValueError, match="the same recording is in two subsets"):
        apart(split)
    with pytest.raises(ValueError, match="has 1 session:"):
        split_files(str(session_paths[0]), "here")


def test_one_input_is_an_input(tmp_path):
    path = tmp_path / "text"
    path.write_text("written by one")
    with pytest.raises(ValueError, match="is read by this command"):
        check_output(path, "by one", str(path))
