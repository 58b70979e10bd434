"""What a space may name of the user's own, what is refused, and how it is told."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from typer.testing import CliRunner

from emgmodels.charset import NUM_CLASSES
from emgmodels.config import Config, dump_config, load_config
from emgmodels.factory import build
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from emgmodels.own_code import CodeError, NotAllowedError, code_allowed, read_code
from search.run.command import app as run_app
from search.space import SpaceError, choices, load_space, settings
from search.space.__main__ import app as space_app
from search.space.draws import RandomDraw

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = """
from emgmodels.config import PerLayer, StageConfig
from emgmodels.stages.stage import Stage
from torch import nn

class Settings(StageConfig):
    \"\"\"Halves.\"\"\"

    sizes: PerLayer = 4
    \"\"\"Of each layer.\"\"\"

    def reduction(self):
        return 2

class Half(Stage):
    settings = Settings
    stride = 2

    def __init__(self, width, config):
        super().__init__(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return self.linear(x[:, ::2])

    def macs(self, frames):
        return frames * self.width**2
class Plain(Half):
    settings = StageConfig
class Long(Half):
    def forward(self, x):
        return x
class Ahead(Half):
    def forward(self, x):
        return self.linear(x[:, ::2]).roll(-3, 1)
class Costless(Half):
    def macs(self, frames):
        return Stage.macs(self, frames)
class Broken(Half):
    def __init__(self, width, config):
        raise KeyError(width)
class Unsettled(Half):
    settings = 3

class Demands(StageConfig):
    size: int

class Demanding(Half):
    settings = Demands

def function(width, config):
    return None
"""
SPACE = """
stages: {half: blocks.py:Half}
model:
  features: {hop: 32}
  mlp_features: 8
  encoder:
    order: {permutation: [half, recurrent]}
    half: {layers: {int: [0, 2]}, sizes: {choice: [4, 8]}}
    recurrent: {layers: 1, hidden: 4}
"""


@pytest.fixture
def space(tmp_path, monkeypatch) -> Path:
    """A space with code of its own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.py").write_text(BLOCKS)
    path = tmp_path / "halves.yaml"
    path.write_text(SPACE)
    return path


def drawn(space: Path, *overrides: str) -> list[Config]:
    loaded, rng = load_space(space, overrides=overrides), np.random.default_rng(0)
    return [loaded.suggest(RandomDraw(rng)) for _ in range(12)]


def test_a_stage_of_ones_own_is_drawn_built_and_counted(space):
    loaded = load_space(space)
    assert loaded.check().share == 1
    configs = drawn(space)
    assert {config.model.encoder.order for config in configs} == {
        ("half", "recurrent"),
        ("recurrent", "half"),
        ("recurrent",),
    }
    for config in configs:
        assert Config.model_validate_json(config.model_dump_json()) == config
        assert load_space(space).suggest(RandomDraw(np.random.default_rng(0))) == configs[0]
        assert loaded.params_of(config)["model.encoder.half.layers"] in (0, 1, 2)
        summary = describe(config.model)
        model = build(config.model)
        assert summary.parameters == sum(p.numel() for p in model.parameters())
        halved = "half" in config.model.encoder.order
        assert summary.frame_rate == (31.25 if halved else 62.5)
        out = model.eval()(torch.zeros(1, 2, 16, 9, 33))
        assert out.shape == (1, 5 if halved else 9, NUM_CLASSES)
    [long, *_] = [each for each in configs if each.model.encoder.order[0] == "half"]
    assert re.match(r"half:[12](\(sizes=8\))? gru:1", notation(long.model))


def test_a_stage_of_ones_own_may_stand_in_an_order_twice(space):
    overrides = [
        "model.encoder.order={choice: [[half, recurrent, half_2], {sequence: {of: [half, "
        "recurrent], length: 3}}]}",
        "model.encoder.half_2={layers: 1, sizes: 6}",
        "search.start_with=['half:2 gru:1(hidden=4) half:1(sizes=6)']",
    ]
    loaded, rng = load_space(space, overrides=overrides), np.random.default_rng(0)
    assert loaded.check().share == 1
    for config in [loaded.suggest(RandomDraw(rng)) for _ in range(12)]:
        encoder = config.model.encoder
        halvings = encoder.kinds().count("half")
        assert encoder.kinds()[::2] == ["half" if halvings == 2 else "recurrent"] * 2
        assert Config.model_validate_json(config.model_dump_json()) == config
        assert loaded.suggest(optuna.trial.FixedTrial(loaded.params_of(config))) == config
        assert describe(config.model).frame_rate == 62.5 / 2**halvings
        if halvings == 2:
            assert encoder.half_2.code == encoder.half.code
            assert "half:1(sizes=6" in notation(config.model)
    assert loaded.start_points()[0]["model.encoder.half.layers"] == 2
    unread = load_space(space, overrides=overrides, imports=False)
    assert unread.parameters() == loaded.parameters()
    with pytest.raises(SpaceError, match="half_2: the name means a second half: take another"):
        load_space(space, overrides=["stages.half_2=blocks.py:Plain"])


def test_a_space_is_read_without_its_code(space):
    overrides = ["search.start_with=['half:2(sizes=8) gru:1(hidden=4)']", "samplers.own=a.py:A"]
    overrides.append("search.sampler={name: own, width: 3}")
    with pytest.raises(SpaceError, match="there is no file"):
        load_space(space, overrides=overrides)
    (space.parent / "blocks.py").unlink()
    loaded = load_space(space, overrides=overrides, imports=False)
    assert loaded.parameters() == [
        "model.encoder.order",
        "model.encoder.half.layers",
        "model.encoder.half.sizes",
    ]
    assert loaded.resolved()["stages"] == {"half": "code/blocks.py:Half"}
    assert loaded.resolved()["search"]["sampler"] == {"name": "own", "width": 3}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.encoder.half.size=3", "half.size: unknown key; did you mean 'sizes'?"),
        ("model.encoder.half.sizes=0", "half.sizes: 0 is not allowed: must be greater than 0"),
        ("model.encoder.half={layers: 2, sizes: [3, 4, 5]}", "sizes [3, 4, 5] names 3 layers of 2"),
        ("model.encoder.order=[haf]", "'pretrained' or 'half'"),
        ("model={choice: ['half:2(sizes=x)']}", "sizes"),
        ("stages.gru=blocks.py:Half", "stages.gru: the name has a meaning of its own already"),
        ("stages.conv=blocks.py:Half", "stages.conv: the name has a meaning of its own already"),
        ("stages.order=blocks.py:Half", "stages.order: the name has a meaning of its own already"),
        ("stages.copy=blocks.py:Half", "stages.copy: the name has a meaning of its own already"),
        ("stages.half=blocks.py", "write my_blocks.py:NAME or package.module:NAME"),
        ("stages.half=blocks.py:Halve", "blocks.py: holds no Halve: it has"),
        ("stages.half=block.py:Half", "there is no file"),
        ("stages.half=no_such_package.blocks:Half", "there is no such module"),
        ("stages.half=blocks.py:function", "function: is function: a class is needed"),
        ("stages.half=blocks.py:Demanding", "Demands.size: has no default, which every setting"),
        ("stages.half=blocks.py:Unsettled", "Unsettled.settings: must be a class that derives"),
        ("stages.half=../blocks.py:Half", "must stand in"),
        ("stages.half=/tmp/blocks.py:Half", "must stand in"),
        ("stages=blocks.py:Half", "stages: 'blocks.py:Half' is not allowed"),
        ("samplers.tpe=blocks.py:Half", "samplers.tpe: the name has a meaning"),
        (f"stages.half=blocks.py:Half@{'0' * 64}", "blocks.py: has changed: its sha256 is"),
    ],
)
def test_mistakes_are_told_with_their_place_before_anything_starts(space, override, told):
    with pytest.raises((SpaceError, ValueError)) as raised:
        load_space(space, overrides=[override]).check(samples=20)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Long", "maps (2, 33, 16) to (2, 33, 16), and says (2, 17, 16): correct its width"),
        ("Ahead", "6 frames after its own at least, and it says lookahead 0: set self.lookahead"),
        ("Costless", "Costless does not say what it costs: give it a method macs(frames)"),
        ("Broken", "stage 'half' (blocks.py:Broken): KeyError: 16 (blocks.py, line "),
    ],
)
def test_a_stage_that_does_not_keep_its_word_is_refused_before_a_search(space, name, told):
    overrides = [f"stages.half=blocks.py:{name}", "model.encoder.order=[half, recurrent]"]
    with pytest.raises(SpaceError) as raised:
        load_space(space, overrides=[*overrides, "model.encoder.half.layers=1"]).check(samples=3)
    assert told in str(raised.value)


def test_several_mistakes_are_told_at_once(space):
    space.write_text(
        SPACE.replace("blocks.py:Half}", "blocks.py:A, b: x.py:B}") + "samplers: [1]\n"
    )
    with pytest.raises(SpaceError) as raised:
        load_space(space)
    assert len(raised.value.mistakes) == 3
    assert all(str(space) in mistake for mistake in raised.value.mistakes)


def test_code_of_others_is_not_imported_unless_that_is_said(space, tmp_path_factory, monkeypatch):
    mark = space.parent / "imported"
    text = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n{BLOCKS}"
    (space.parent / "blocks.py").write_text(text)
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    for app, words in ((run_app, [str(space)]), (space_app, [str(space)])):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2
        assert f"{space}: names code of its own" in done.stderr
        assert "stages.half: blocks.py:Half" in done.stderr
        assert "--allow-code" in done.stderr
    best = space.with_name("best.yaml")
    code = f"blocks.py:Half@{read_code(space.parent / 'blocks.py').sha256}"
    values = {"model": {"encoder": {"order": ["half"], "half": {"code": code, "layers": 1}}}}
    best.write_text(str(values).replace("'", '"'))
    with pytest.raises(NotAllowedError, match="names code of its own"):
        load_config(best)
    inner = here / "inner"  # the file lies in the current folder, the space that names it does not
    inner.mkdir()
    (inner / "blocks.py").write_text(text)
    linked = space.parent / "linked"
    linked.mkdir()
    (linked / "halves.yaml").write_text(SPACE)
    (linked / "blocks.py").symlink_to(inner / "blocks.py")
    with pytest.raises(SpaceError, match="without a link that leads out"):
        load_space(linked / "halves.yaml")
    monkeypatch.setenv("HOME", str(space.parent))
    monkeypatch.chdir(space.parent)
    with pytest.raises(SpaceError, match="names code of its own"):
        load_space(space)
    monkeypatch.setenv("HOME", str(here))
    (space.parent / ".fetched").touch()  # as of a run that --resume brought from a store
    with pytest.raises(SpaceError, match="names code of its own"):
        load_space(space)
    assert not mark.exists()
    with code_allowed(True):
        assert load_config(best).model.encoder.order == ("half",)
    done = CliRunner().invoke(space_app, [str(space), "--allow-code"])
    assert done.exit_code == 0
    assert "| `sizes` | " in done.stdout
    assert "Of each layer." in done.stdout
    assert mark.exists()


def test_a_file_that_is_extended_names_code_beside_itself(space):
    base = space.parent / "base"
    base.mkdir()
    (space.parent / "blocks.py").rename(base / "blocks.py")
    space.rename(base / "base.yaml")
    space.write_text("extends: base/base.yaml\nmodel: {encoder: {half: {sizes: 16}}}\n")
    found = {c.model.encoder.half.sizes for c in drawn(space) if "half" in c.model.encoder.order}
    assert found == {16}


def test_a_package_brings_its_files_and_imports_its_neighbours(space):
    package = space.parent / "own_halves" / "deep"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "blocks.py").write_text(BLOCKS)
    (package.parent / "named.py").write_text(
        "from own_halves.deep.blocks import Plain\nfrom .deep.blocks import Half\n"
    )
    for reference in ("own_halves.named:Half", "own_halves/named.py:Half"):
        [loaded] = load_space(space, overrides=[f"stages.half={reference}"]).own.codes
        assert [path for path, _ in loaded.files] == [
            "own_halves/__init__.py",
            "own_halves/deep/__init__.py",
            "own_halves/deep/blocks.py",
            "own_halves/named.py",
        ]
    assert load_space(space, overrides=["stages.half=own_halves.named:Half"]).check().share == 1
    (package / "blocks.py").write_text(BLOCKS + "# changed\n")
    with pytest.raises(SpaceError, match="another version of this package is in use"):
        load_space(space, overrides=["stages.half=own_halves.named:Half"])


def test_two_versions_of_a_file_are_two_architectures(space):
    [first] = set(drawn(space, "model={choice: ['half:1 gru:1']}"))
    (space.parent / "blocks.py").write_text(BLOCKS + "# changed\n")
    [second] = set(drawn(space, "model={choice: ['half:1 gru:1']}"))
    assert first != second
    assert build(first.model).stages[0].__class__ is not build(second.model).stages[0].__class__
    with pytest.raises(ValueError, match="is not in the space"):
        load_space(space).params_of(first)


def test_a_configuration_is_read_and_written_without_its_code(tmp_path):
    code = f"gone.py:Gone@{'1' * 64}"
    encoder = {"order": ["gone"], "gone": {"code": code, "layers": 2, "sizes": [3, 4]}}
    config = Config.model_validate({"model": {"encoder": encoder}})
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert "gone:2(sizes=3/4)" in notation(config.model)
    assert "sizes" in dump_config(config)
    with pytest.raises(CodeError, match=r"gone.py:Gone is code that this process has not loaded"):
        build(config.model)


def test_spaces_that_differ_in_their_stages_are_both_pickled(space):
    """Their search sections are alike, and a class is pickled by its name."""
    one = load_space(space)
    other = load_space(space, overrides=["stages.third=blocks.py:Plain"])
    for each in (one, other, load_space(space)):
        assert pickle.loads(pickle.dumps(each)) == each


def test_a_snapshot_of_a_search_is_read_by_another_process(space):
    """As Ray's, which holds the sampler: it needs the classes that the space was read with."""
    (space.parent / "snapshot").write_bytes(pickle.dumps(load_space("halves.yaml")))
    program = (
        "import pickle; from search.space import load_space; s = load_space('halves.yaml')\n"
        "assert pickle.loads(open('snapshot', 'rb').read()) == s"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=space.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


PLUGIN = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "halves"
version = "1"
[project.entry-points."emgsearch.stages"]
offered = "halves.blocks:Half"
"""


@pytest.mark.slow
def test_an_installed_package_offers_its_stage_to_every_space(space):
    source, installed = space.parent / "source", space.parent / "installed"
    (source / "halves").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PLUGIN)
    (source / "halves" / "__init__.py").write_text("")
    (source / "halves" / "blocks.py").write_text(BLOCKS)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--target", str(installed), str(source)], check=True)
    space.write_text(SPACE.partition("\n")[2].partition("\n")[2].replace("half", "offered"))
    program = (
        "from search.space import load_space\n"
        f"space = load_space({str(space)!r})\n"
        "print(space.check(samples=20).share, space.own.plain()['stages']['offered'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd="/",  # the space is somebody else's, the package was installed here
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    sha256 = read_code(source / "halves" / "blocks.py").sha256
    assert done.stdout.split() == ["1.0", f"code/halves/blocks.py:Half@{sha256}"]


def test_snapshots_of_older_versions_find_their_classes():
    assert (settings.OwnCode, settings.Chosen) == (choices.OwnCode, choices.Chosen)
