"""Ray's snapshots of searches that an older version of this project began."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import pytest
from ray import tune

import search.engine.snapshots
import search.engine.tuning
import search.space.own
import search.space.settings
from search.engine.searcher import OptunaSampler
from search.engine.snapshots import read_tuner, without_searcher
from search.engine.tuning import Suggestions
from search.space import load_space


class _Known(dict):
    """What an older version pickled: with a state of its own, and items."""

    def __init__(self, value: int) -> None:
        super().__init__(name=value)
        self.value = value


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("search.space.settings", "OwnCode"),
        ("search.space.settings", "Chosen"),
        ("search.space.own", "SearchConfig_5bc2c8dd3d88cd76"),
        ("search.display.console", "Progress"),
        ("emgmodels.sessions.splits", "_Subsets"),
        ("own_code_80bbb167621f67d7_my_search", "NearBestConfig"),
    ],
)
def test_what_an_older_version_called_otherwise_is_read_over(module, name, monkeypatch, tmp_path):
    """Searcher and scheduler are made again; the rest of Ray's file is as it was."""
    (tmp_path / "space.yaml").write_text("model: {mlp_features: {choice: [8, 16]}}\n")
    space = load_space(tmp_path / "space.yaml")
    content = {
        "searcher": Suggestions(OptunaSampler(space, Path("study.journal"))),
        "scheduler": {"own": _Known(3)},
        "namer": search.engine.tuning._trial_name,
        "config": tune.TuneConfig(metric="val_cer", mode="min"),
    }
    with monkeypatch.context() as then:
        if module not in sys.modules:
            then.setitem(sys.modules, module, types.ModuleType(module))
        then.setattr(_Known, "__module__", module)
        then.setattr(_Known, "__qualname__", name)
        then.setattr(sys.modules[module], name, _Known, raising=False)
        written = pickle.dumps(content)
    with pytest.raises((AttributeError, ImportError)):
        pickle.loads(written)
    found = read_tuner(written)
    assert found["namer"] is search.engine.tuning._trial_name
    assert found["config"] == content["config"]
    assert not isinstance(found["searcher"], Suggestions)


def test_what_is_gone_of_others_is_not_read_over():
    with pytest.raises(ImportError):
        read_tuner(b"cnowhere.at_all\nThing\n.")


def test_ray_restores_without_the_searcher_and_as_usual_afterwards():
    import ray.tune.impl.tuner_internal as tuner

    usual = tuner.pickle
    with without_searcher():
        assert tuner.pickle.loads is read_tuner
    assert tuner.pickle is usual


@pytest.mark.parametrize("name", ["tuning:_trial_name", "snapshots:write_whole", "trial:EmgTrial"])
def test_other_files_of_a_snapshot_find_what_they_name(name):
    """Ray reads these itself, so what is moved must stay to be had under the old name."""
    module, _, wanted = name.partition(":")
    assert hasattr(sys.modules[f"search.engine.{module}"], wanted)
