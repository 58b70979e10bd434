"""Samplers that go on from a journal, learn from earlier searches, and suggest to Ray Tune."""

import math
import pickle
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from helpers.samplers import ELECTRODES, SPACE, config_of, finish, recorded, result
from helpers.splits import recorded as written
from optuna.trial import TrialState
from ray import tune
from ray.tune.search import Searcher

from emgmodels.config import Config
from emgmodels.sessions import Split
from search.engine.searcher import OptunaSampler
from search.engine.tuning import Suggestions
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import TrialRecord
from search.results.session_files import recordings_of
from search.sampler.warm_start import earlier_trials
from search.space import load_space

SPACES = Path(__file__).parents[2] / "spaces"

# Going on


def test_a_restored_sampler_suggests_what_the_first_would_have(space_of, journal, tmp_path):
    reference = OptunaSampler(space_of())
    sampler = OptunaSampler(space_of(), journal)
    expected, drawn = [], []
    for index in range(24):
        if index == 15:
            sampler.save(str(tmp_path / "state"))
            sampler = pickle.loads(pickle.dumps(sampler))
            sampler.restore(str(tmp_path / "state"))
        for one, suggestions in ((reference, expected), (sampler, drawn)):
            suggestions.append(one.suggest(str(index)))
            if index % 4:
                finish(one, str(index), cer=30 + index % 7)
    assert drawn == expected


def test_what_a_search_leaves_waits_in_the_study_and_runs_when_it_goes_on(
    space_of, journal, tmp_path
):
    space = space_of(SPACE, "search.sampler=random")
    sampler = OptunaSampler(space, journal)
    sampler.rest()  # before anything was suggested
    assert not journal.exists()
    for key in "abc":
        sampler.suggest(key)
        sampler.on_trial_result(key, result(1, 90))
    sampler.on_trial_complete("a", result(9, 40))
    sampler.save(str(tmp_path / "state"))
    sampler.rest()
    states = [TrialState.COMPLETE, TrialState.WAITING, TrialState.WAITING]
    assert [trial.state for trial in recorded(journal)] == states

    restored = OptunaSampler(space, journal)
    restored.restore(str(tmp_path / "state"))
    states = [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]
    assert [trial.state for trial in recorded(journal)] == states
    assert restored.suggest("d")["number"] == 3
    restored.on_trial_complete("b", result(9, 30))
    assert recorded(journal)[1].values == [30]
    assert recorded(journal)[1].intermediate_values == {1: 90, 9: 30}


def test_the_study_names_what_it_minimises(space_of, journal):
    OptunaSampler(space_of(SPACE), journal).suggest("a")
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert study.metric_names == ["validation CER (%)"]


def test_after_a_kill_trials_that_ray_has_forgotten_come_again(space_of, journal, tmp_path):
    space = space_of(SPACE, "search.sampler=random")
    sampler = OptunaSampler(space, journal)
    for key in "ab":
        sampler.suggest(key)
        sampler.on_trial_result(key, result(1, 90))
    sampler.save(str(tmp_path / "state"))
    ran, ended = sampler.suggest("c"), sampler.suggest("d")
    sampler.on_trial_complete("b", result(9, 40))
    sampler.on_trial_complete("d", result(9, 35))

    restored = OptunaSampler(space, journal)
    restored.restore(str(tmp_path / "state"))
    assert restored.suggest("c again") == ran
    restored.save(str(tmp_path / "state"))
    restored = OptunaSampler(space, journal)
    restored.restore(str(tmp_path / "state"))
    assert restored.suggest("d again") == ended
    restored.on_trial_result("a", result(1, 90))
    restored.on_trial_complete("a", result(2, 80))
    for key in ("b", "c again", "d again"):
        restored.on_trial_result(key, result(8, 41))
        restored.on_trial_complete(key, result(9, 40))
    a, b, c, d = recorded(journal)
    assert (a.state, a.intermediate_values) == (TrialState.PRUNED, {1: 90, 2: 80})
    assert [trial.value for trial in (b, c, d)] == [40, 40, 35]
    uninterrupted = OptunaSampler(space)
    assert restored.suggest("e") == [uninterrupted.suggest(key) for key in "abcde"][4]


def test_trials_that_are_added_come_beside_those_that_never_began(space_of, journal, tmp_path):
    """A demo leaves out trials that Ray has already; more trials are more of those that began."""
    sampler = OptunaSampler(space_of(SPACE, "search.trials=4"), journal)
    for key in "abc":
        sampler.suggest(key)
    for key in "ab":
        sampler.on_trial_complete(key, result(9, 40))
    sampler.on_trial_complete("c")  # taken back before its first epoch
    sampler.save(str(tmp_path / "state"))
    longer = OptunaSampler(space_of(SPACE, "search.trials=5"), journal)
    suggestions = Suggestions(longer)
    suggestions.know([SimpleNamespace(config={"number": number}) for number in range(3)])
    longer.restore(str(tmp_path / "state"))
    suggestions.set_state({"counter": 3, "experiment": None})
    begun = 2
    while not suggestions.is_finished():
        assert longer.suggest(f"more {begun}") != Searcher.FINISHED
        suggestions._counter += 1
        begun += 1
    assert begun == 5


def test_a_trial_of_several_objectives_goes_on_where_it_was(space_of, journal, tmp_path):
    space = space_of(SPACE, "search.objectives=[val_cer, macs]")
    sampler = OptunaSampler(space, journal)
    sampler.suggest("a")
    sampler.on_trial_result("a", result(1, 40))
    sampler.save(str(tmp_path / "state"))
    restored = OptunaSampler(space, journal)
    restored.restore(str(tmp_path / "state"))
    restored.on_trial_complete("a")
    [trial] = recorded(journal)
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {1: 40})
    assert not trial.constraints


def test_a_longer_search_goes_on_from_the_journal(space_of, journal):
    first = OptunaSampler(space_of(SPACE, "search.trials=12"), journal)
    seen = set()
    for index in range(12):
        config = config_of(first.suggest(str(index)))
        seen.add((config.model, config.training))
        finish(first, str(index))
    assert first.suggest("more") == Searcher.FINISHED
    longer = OptunaSampler(space_of(SPACE, "search.trials=16"), journal)
    more = [longer.suggest(f"m{index}") for index in range(5)]
    assert more[4] == Searcher.FINISHED
    for suggestion in more[:4]:
        config = config_of(suggestion)
        assert (config.model, config.training) not in seen


def test_a_torn_last_line_of_the_journal_does_not_lose_the_study(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    finish(sampler, "a")
    with journal.open("ab") as file:
        file.write(b'{"op_code":6,"work')
    again = OptunaSampler(space_of(), journal)
    again.suggest("b")
    assert [trial.state for trial in recorded(journal)] == [TrialState.COMPLETE, TrialState.RUNNING]


def test_a_journal_of_another_space_is_refused(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    finish(sampler, "a")
    with pytest.raises(ValueError, match="objectives, the space has 2"):
        OptunaSampler(space_of(SPACE, "search.objectives=[val_cer, macs]"), journal).suggest("b")
    with pytest.raises(ValueError, match="trial 0 is not of the space small"):
        OptunaSampler(space_of(SPACE, "model.mlp_features={choice: [5, 7]}"), journal).suggest("b")


# Learning from another search


SAME = Split("one", train=(Path("a.hdf5"),), val=(Path("b.hdf5"),), test=())
FEW = ("search.sampler=random", "training.learning_rate=0.001")


@pytest.fixture
def earlier_run(space_of, tmp_path):
    """Eight trials of the space: one in four diverged, one in four ended early."""
    space = space_of(SPACE, *FEW)
    sampler = OptunaSampler(space)
    folder = RunFolder.create(tmp_path, "earlier")
    folder.write_space(space.resolved())
    split = {"train": ["/there/a.hdf5"], "val": ["/there/b.hdf5"]}
    folder.write_environment({"split": split, "subject": "one"})
    for number in range(8):
        config = config_of(sampler.suggest(str(number)))
        state = "stopped" if number % 4 in (1, 3) else "complete"
        record = folder.trials[number] = TrialRecord(number, config, state=state)
        for epoch in range(1, 5 if number % 4 == 1 else 10):
            row = dict.fromkeys(CURVE_METRICS, 1.0)
            cer = math.nan if number % 4 == 3 and epoch == 9 else 20.0 + number
            record.add(row | {"epoch": epoch, "val_cer": cer})
    folder.flush()
    return folder


def test_trials_of_an_earlier_search_are_known_and_never_suggested_again(
    space_of, earlier_run, journal
):
    space = space_of(SPACE, *FEW)
    found = earlier_trials(space, earlier_run.path, SAME)
    assert not found.left_out
    sampler = OptunaSampler(space, journal, found.trials)
    suggestion = sampler.suggest("a")
    assert suggestion["number"] >= 8
    again = OptunaSampler(space, journal)
    more = [sampler.suggest(str(index)) for index in range(12)] + [again.suggest("b")]
    trained = {trial.config.model for trial in earlier_run.trials.values()}
    assert not trained & {config_of(each).model for each in (suggestion, *more)}
    told = recorded(journal)[:8]
    for number, trial in enumerate(told):
        assert trial.user_attrs["earlier"] == f"trial {number} of {earlier_run.path}"
        assert (trial.state == TrialState.COMPLETE) == (number % 2 == 0)
        assert (max(trial.constraints.values(), default=0) > 0) == (number % 4 == 3)
    assert told[4].value == 24
    assert told[1].intermediate_values == dict.fromkeys(range(1, 5), 21)


@pytest.mark.parametrize("method", ["quasirandom", "grid", "tpe"])
def test_what_was_cut_off_is_not_begun_again_by_a_sampler_of_fixed_points(
    method, space_of, earlier_run
):
    space = space_of(SPACE, *FEW, f"search.sampler={method}")
    for trial in earlier_run.trials.values():
        trial.state = "cut off"
    earlier_run.flush()
    found = earlier_trials(space, earlier_run.path, SAME)
    assert {trial.user_attrs["trained"] for trial in found.trials} == {method != "tpe"}
    if method != "tpe":
        sampler = OptunaSampler(space, None, found.trials)
        asked = [sampler.suggest(str(index)) for index in range(8)]
        trained = {trial.config.model for trial in earlier_run.trials.values()}
        assert not trained & {config_of(each).model for each in asked}


def test_a_demo_that_learns_from_a_demo_trains_none_of_its_configurations(tmp_path):
    """Its sampler knows its points in advance and would suggest the same again, in order."""
    space = load_space(SPACES / "deep.yaml", demo=True)
    assert space.search.sampler.name == "quasirandom"
    first = OptunaSampler(space)
    folder = RunFolder.create(tmp_path, "deep")
    folder.write_space(space.resolved())
    folder.write_environment({"split": {"train": ["/there/a.hdf5"], "val": ["/there/b.hdf5"]}})
    for number in range(space.search.trials - 1):  # the last one never began
        config = config_of(first.suggest(str(number)))
        state = ("complete", "stopped", "cut off")[number % 3]
        record = folder.trials[number] = TrialRecord(number, config, state=state)
        for epoch in range(1, space.epochs + 1 if state == "complete" else 3):
            record.add({"epoch": epoch, "val_cer": 50.0 - epoch, "seconds": 1.0})
    folder.flush()
    found = earlier_trials(space, folder.path, SAME)
    assert len(found.trials) == space.search.trials - 1
    second = OptunaSampler(space, None, found.trials)
    asked = [config_of(second.suggest(str(n))) for n in range(space.search.trials)]
    known = {(trial.config.model, trial.config.training) for trial in folder.trials.values()}
    assert known.isdisjoint((config.model, config.training) for config in asked)
    # Start points come first in every search, with another learning rate each time.
    after = asked[len(space.search.start_with)]
    assert after.model == config_of(first.suggest("next")).model, "it goes on where it ended"


@pytest.mark.parametrize("target", ["nowhere", "study.journal"])
def test_a_journal_whose_lock_a_killed_process_left_is_opened(space_of, journal, target):
    """It is a link to the journal as that was named then: from elsewhere, of another folder."""
    OptunaSampler(space_of(), journal).suggest("a")
    lock = journal.with_name("study.journal.lock")
    lock.symlink_to(target)
    begin = time.monotonic()
    OptunaSampler(space_of(), journal).suggest("b")
    assert time.monotonic() - begin < 20, "Optuna waits 30 s for it, or for ever"
    assert len(recorded(journal)) == 2
    assert not lock.is_symlink()


def test_earlier_trials_that_do_not_fit_are_left_out_with_the_reason(space_of, earlier_run):
    space = space_of(SPACE, *FEW, "model.mlp_features={choice: [16, 24]}")
    found = earlier_trials(space, earlier_run.path, SAME)
    wide = [t for t in earlier_run.trials.values() if t.config.model.mlp_features == 32]
    assert 0 < len(wide) < 8
    assert len(found.trials) == 8 - len(wide)
    reason = "model.mlp_features: 32 is not in the space (it has 16, 24)"
    assert found.left_out == {reason: len(wide)}
    with pytest.raises(ValueError, match=r"none: does not exist"):
        earlier_trials(space, earlier_run.path / "none", SAME)


def test_trials_of_other_epochs_are_learnt_from_and_may_be_trained_again(space_of, earlier_run):
    longer = space_of(ELECTRODES.replace("epochs: 9", "epochs: 12"))
    shorter = space_of(ELECTRODES.replace("epochs: 9", "epochs: 3"))
    folder = RunFolder(earlier_run.path)
    record = folder.trials[0] = TrialRecord(0, next(space_of(ELECTRODES).grid()), state="complete")
    for epoch in range(1, 10):
        record.add(dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": epoch, "val_cer": 20.0})
    folder.flush()
    for space, epochs in ((longer, 9), (shorter, 3)):
        [trial] = earlier_trials(space, folder.path, SAME).trials
        assert trial.state == TrialState.PRUNED
        assert max(trial.intermediate_values) == epochs
        sampler = OptunaSampler(space, earlier=[trial])
        drawn = {config_of(sampler.suggest(str(index))).model.electrodes for index in range(6)}
        assert drawn == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("state", ["cut off", "paused", "running"])
def test_earlier_trials_that_did_not_end_by_themselves_may_be_trained(state, space_of, earlier_run):
    space = space_of(SPACE, *FEW)
    record = earlier_run.trials[1]
    record.state = state
    earlier_run.flush()
    trained = [
        t.user_attrs["trained"] for t in earlier_trials(space, earlier_run.path, SAME).trials
    ]
    assert trained == [number != 1 for number in range(8)]


@pytest.mark.parametrize(
    "other", [replace(SAME, val=(Path("c.hdf5"),)), replace(SAME, subject="two")]
)
def test_earlier_trials_of_other_sessions_are_learnt_from_and_may_be_trained(
    other, space_of, earlier_run
):
    space = space_of(SPACE, *FEW)
    found = earlier_trials(space, earlier_run.path, other)
    assert not found.same_sessions
    sampler = OptunaSampler(space, earlier=found.trials)
    suggested = {config_of(sampler.suggest(str(i))).model for i in range(space.size)}
    assert {trial.config.model for trial in earlier_run.trials.values()} <= suggested


# On the engine


@pytest.mark.slow
def test_ray_tunes_trials_arrive_in_the_study(engine, space_of, journal, tmp_path):
    def train(suggestion):
        training = Config.model_validate_json(suggestion["config"]).training
        for epoch in range(1, training.epochs + 1):
            cer = 100.0 / epoch + 10 * (training.learning_rate > 1e-3)
            tune.report({"epoch": epoch, "val_cer": cer})

    tuner = tune.Tuner(
        train,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSampler(space_of(), journal),
            num_samples=6,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(tmp_path),
            verbose=0,
            stop=lambda _, result: result["epoch"] >= 3 and result["val_cer"] > 40,
        ),
    )
    tuned = tuner.fit()
    trials = recorded(journal)
    assert not tuned.errors
    for run in tuned:
        trial = trials[run.config["number"]]
        assert max(trial.intermediate_values) == run.metrics["epoch"]
        ended = TrialState.COMPLETE if run.metrics["epoch"] == 9 else TrialState.PRUNED
        assert trial.state == ended
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_recordings_are_told_apart_whatever_their_files_are_called(space_of, earlier_run, tmp_path):
    """Equal names say little of whose they are, least of all where several people are trained."""
    space = space_of(SPACE, *FEW)
    split, other = (
        Split("one", (written(folder / "a.hdf5", 0),), (written(folder / "b.hdf5", seed),), ())
        for folder, seed in ((tmp_path / "here", 1), (tmp_path / "there", 2))
    )
    sets = {"train": split.train, "val": split.val}
    facts = {"split": {part: list(map(str, paths)) for part, paths in sets.items()}}
    earlier_run.write_environment(facts | {"subject": "one", "recordings": recordings_of(sets)})
    assert earlier_trials(space, earlier_run.path, split).same_sessions
    found = earlier_trials(space, earlier_run.path, other)
    assert not found.same_sessions
    assert not any(trial.user_attrs["trained"] for trial in found.trials)
