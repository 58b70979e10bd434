"""A model as a folder to share: read back to the same emissions, a card that the hub reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import make_session
from typer.testing import CliRunner

import emgmodels
from emgmodels.config import Config, load_config
from emgmodels.export.__main__ import app
from emgmodels.export.model_card import _front
from emgmodels.notation import parse_notation
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare

LIVE = "conv:1(channels=4,kernel=4) norm:bin mlp:8 bins:6 hop:64 @4ch"


@pytest.fixture(scope="module")
def trained(session_paths, tmp_path_factory) -> Path:
    """A checkpoint in a run folder, and what was written beside it."""
    run = tmp_path_factory.mktemp("runs") / "my run"
    recordings = prepare(session_paths[:1])
    config = Config(model=parse_notation(LIVE))
    training = config.training.model_copy(update={"epochs": 1, "batch_size": 4})
    (result,) = fit(config.model_copy(update={"training": training}), recordings, recordings)
    result.save(run / "checkpoints" / "best.pt")
    facts = {"subject": "anna", "command": ["python", "-m", "search.run", "my space.yaml"]}
    (run / "environment.json").write_text(json.dumps(facts))
    return run


def export(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in (*words, "--to", "folder")])
    assert done.exit_code == code, done.output
    return done.output


def test_a_folder_is_read_back_to_the_same_emissions(trained, tmp_path):
    export(trained, "--out", tmp_path / "shared")
    names = {"model.safetensors", "config.json", "README.md", "config.yaml"}
    written = list((tmp_path / "shared").iterdir())
    assert {path.name for path in written} == names
    assert len({path.stat().st_mode for path in written}) == 1, "a colleague may read all or none"
    moved = (tmp_path / "shared").rename(tmp_path / "moved")
    emg = make_session(6).emg
    before, after = emgmodels.load(trained), emgmodels.load(moved)
    assert np.array_equal(before.emissions(emg), after.emissions(emg))
    assert after.origin == before.origin
    assert after.card() == before.card()
    assert load_config(moved / "config.yaml") == before.config
    assert np.array_equal(
        emgmodels.load(moved / "model.safetensors").emissions(emg), after.emissions(emg)
    )


def test_the_card_is_one_that_the_hub_reads(trained, tmp_path):
    cards = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    export(trained, "--out", tmp_path / "shared", "--license", "cc-by-4.0")
    card = cards.ModelCard.load(tmp_path / "shared" / "README.md")
    reader = emgmodels.load(trained)
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "emgsearch"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("cer", round(reader.origin.val_cer, 2))
    assert (result.dataset_type, result.dataset_name) == (
        "emg2qwerty",
        "session files of subject anna",
    )
    text = " ".join(card.text.split())
    assert f"{reader.origin.val_cer:.2f} %, 95 % bootstrap interval over" in text
    low, high = map(float, re.search(r"windows ([\d.]+) to ([\d.]+) %", text).groups())
    assert low <= reader.origin.val_cer <= high
    assert "python -m search.run 'my space.yaml'" in text
    assert "session files of subject anna" in text
    assert re.search(r"\| look-ahead \| [\d.]+ ms, so it reads live \|", text)
    assert all(f"`{name}`" in text for name in reader.origin.train)


def test_a_synthetic_typist_is_no_data_set_of_people(trained):
    front = _front(emgmodels.load(trained), "a", None, {"synthetic": True})
    ((result,),) = (each["results"] for each in front["model-index"])
    assert result["dataset"]["type"] == "synthetic"


def test_the_licence_is_a_field_and_not_made_up(trained, tmp_path):
    export(trained, "--out", tmp_path / "a")
    text = (tmp_path / "a" / "README.md").read_text()
    assert "license: other\nlicense_name: not-stated\n" in text
    for options in (["--license", "cc-by-4.0"], []):  # and stays what it was said to be
        export(trained, "--out", tmp_path / "a", *options)
        assert "license: cc-by-4.0\n" in (tmp_path / "a" / "README.md").read_text()
    assert "expected an identifier" in export(trained, "--license", "my own!", code=2)
    refused = CliRunner().invoke(app, [str(trained), "--to", "torch", "--license", "mit"])
    assert refused.exit_code == 2


def test_a_folder_is_written_again_and_never_over_what_is_anothers(trained, tmp_path):
    out = tmp_path / "shared"
    export(trained, "--out", out)
    (out / "notes.txt").write_text("mine")
    export(trained, "--out", out)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "README.md").write_text("mine")
    assert "was not written by this command" in export(trained, "--out", out, code=2)
    assert (out / "README.md").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    assert "is no folder" in export(trained, "--out", tmp_path / "file", code=2)
    (tmp_path / "link").symlink_to(out)
    export(trained, "--out", tmp_path / "link", code=2)


@pytest.mark.parametrize("spoil", ["model.safetensors", "config.json", "missing"])
def test_a_damaged_folder_is_refused_by_the_file(trained, tmp_path, spoil):
    export(trained, "--out", tmp_path / "s")
    path = tmp_path / "s" / ("config.json" if spoil == "missing" else spoil)
    path.write_bytes(path.read_bytes()[:40])
    if spoil == "missing":
        path.unlink()
    with pytest.raises(ValueError, match=re.escape(path.name)):
        emgmodels.load(tmp_path / "s")


def test_an_imported_or_exported_model_can_be_shared_too(trained, tmp_path):
    done = CliRunner().invoke(app, [str(trained), "--to", "torch", "--out", str(tmp_path / "m.pt")])
    assert done.exit_code == 0
    export(tmp_path / "m.pt")
    export(tmp_path / "m-shared", "--out", tmp_path / "again")
    first, again = (emgmodels.load(tmp_path / name).card() for name in ("m-shared", "again"))
    assert first == again
    assert "It is not known which command" in (tmp_path / "again" / "README.md").read_text()
