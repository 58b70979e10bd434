"""The command that builds a language model."""

from dataclasses import replace

import pytest
from conftest import START, make_session
from typer.testing import CliRunner

from emgmodels.language.__main__ import app
from emgmodels.sessions import Prompt, write_session


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["build", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_a_model_of_a_text_is_read_by_kenlm(kenlm, tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "lm.arpa"
    text.write_text("The quick brown fox.\nJumps over?\n", encoding="utf-8")
    said = run(text, "--out", out, "--order", 3)
    assert "from 2 lines of 34 keys" in said  # 31 characters, 3 of them with a shift
    model = kenlm.Model(str(out))
    assert model.order == 3
    assert "Key.shift" in model
    assert model.score("Key.shift T h e") > model.score("Key.shift e h T")
    assert "from 2 lines of 31 keys" in run(text, "--out", out, "--no-shifts")
    assert "Key.shift" not in kenlm.Model(str(out))


def test_prompts_come_from_training_sessions_alone(kenlm, tmp_path):
    """The sessions for validation and test are not even opened beyond what a split needs."""
    for i in range(3):
        write_session(tmp_path / f"s{i}.hdf5", make_session(seconds=13, seed=i, name=f"s{i}"))
    split = tmp_path / "split.yaml"
    entries = {"train": "s1", "val": "s0", "test": "s2"}
    lines = [f"  {k}:\n    - {{user: '12345678', session: {s}}}" for k, s in entries.items()]
    split.write_text("user: '12345678'\ndataset:\n" + "\n".join(lines) + "\n")
    for name in ("s0", "s2"):  # their prompts would be lines of their own
        other = replace(
            make_session(seconds=13, name=name), prompts=(Prompt("t", START, START + 1, "zz"),)
        )
        write_session(tmp_path / f"{name}.hdf5", other)
    out = tmp_path / "lm.arpa"
    assert "from 2 lines" in run("--prompts", tmp_path, "--split", split, "--out", out)
    assert "Key.space" in kenlm.Model(str(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no text: name a text file"),
        (("nothing.txt",), "nothing.txt"),
        (("binary.txt",), "binary.txt: is not a text in UTF-8"),
        (("text.txt", "--order", 9), "order 9"),
        (("empty.txt",), "there is no text"),
    ],
)
def test_what_cannot_be_built_is_said(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text.txt").write_text("a\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    assert message in run(*arguments, code=2)
    assert not (tmp_path / "lm.arpa").exists()
