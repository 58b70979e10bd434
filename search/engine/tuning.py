"""Ray Tune behind the search: starts it quietly, and runs the trials or goes on with them."""

from __future__ import annotations

import contextlib
import functools
import logging
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchGenerator

from emgmodels.checkpoints.start import Start
from emgmodels.own_code import installed
from search.engine.elsewhere import loggers
from search.engine.failures import FIRST_EPOCH, RETRIES, explain, is_disk_full
from search.engine.fixed_list import ListedConfigs
from search.engine.ray_patches import (
    ended_by,
    failed_resets_retried,
    frequent_snapshots,
    last_weights_saved,
    processes_kept,
    stored_here,
    trainable_at_hand,
    waiting,
    whole_snapshots,
)
from search.engine.recorder import Recorder
from search.engine.resources import Resources, trials_ahead
from search.engine.searcher import OptunaSampler
from search.engine.snapshots import SnapshotError
from search.engine.trial import EmgTrial, TrialData
from search.halving.ending import Ending, Why
from search.report.display.words import say
from search.results.folder import RunFolder
from search.results.pulse import Pulse
from search.space import SearchConfig
from search.storage import ENGINE_FOLDER


def run_trials(
    sampler: OptunaSampler | ListedConfigs,
    scheduler: TrialScheduler,
    data: TrialData,
    resources: Resources,
    recorder: Recorder,
    trainable: type[EmgTrial] = EmgTrial,
    start: Start | None = None,
) -> None:
    """Run a search's trials to their end; Ctrl-C ends it early, with nothing lost."""
    tuner = tune.Tuner(
        _trainable(trainable, data, resources, sampler.settings, recorder.progress.pulse, start),
        tune_config=tune.TuneConfig(
            metric="val_cer",
            mode="min",
            search_alg=Suggestions(sampler),
            scheduler=scheduler,
            # Schedulers read from it how many trials may still come. With -1 Ray would begin with
            # 200 empty trials.
            num_samples=sampler.trials,
            # A new process takes 3 s to import torch and Ray; one that is used again takes 0.1 s.
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=ENGINE_FOLDER,
            storage_path=_storage(recorder.folder),
            callbacks=_callbacks(sampler.settings, recorder),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            # `num_to_keep` is not set either: each deletion by Ray would force a whole snapshot.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the recorder asks
            verbose=0,
        ),
    )
    _fit(tuner, recorder, resources)


def check_snapshot(folder: RunFolder) -> None:
    """Raise ValueError where Ray has no snapshot of a search to go on from."""
    if not tune.Tuner.can_restore(_storage(folder, ENGINE_FOLDER)):
        raise ValueError(f"{folder.path}: cannot be resumed: it holds no snapshot of its trials")


def resume_trials(
    sampler: OptunaSampler,
    scheduler: TrialScheduler,
    data: TrialData,
    resources: Resources,
    recorder: Recorder,
    start: Start | None = None,
) -> None:
    """Go on with a search that was interrupted or killed, from Ray's snapshot of it.

    Ended trials stay as they are, paused ones stay paused, and those that were running go on from
    their last checkpoint. Where the space now asks for more trials, they follow.
    """
    path = _storage(recorder.folder, ENGINE_FOLDER)
    pulse = recorder.progress.pulse
    trainable = _trainable(EmgTrial, data, resources, sampler.settings, pulse, start)
    try:
        tuner = tune.Tuner.restore(path, trainable)
    except Exception as error:  # whatever a damaged pickle raises
        raise ValueError(_unreadable(recorder, error)) from error
    # Searcher and scheduler are made again from the run folder, since the user may have asked for
    # more trials or other machines.
    local: Any = tuner._local_tuner  # restore() takes none of these
    local._tune_config.search_alg = Suggestions(sampler)
    local._tune_config.scheduler = scheduler
    run_config = local.get_run_config()
    run_config.callbacks = _callbacks(sampler.settings, recorder)
    # Ray takes these from the path as if it were a URI: "#" and "?" would end it.
    run_config.name, run_config.storage_path = ENGINE_FOLDER, _storage(recorder.folder)
    _fit(tuner, recorder, resources)


class Suggestions(SearchGenerator):
    """Ray Tune's source of trials: as many as the sampler's space says, also after a restore."""

    def __init__(self, sampler: OptunaSampler | ListedConfigs) -> None:
        super().__init__(sampler)
        self.sampler = sampler

    def __reduce__(self) -> tuple[type[Suggestions], tuple[OptunaSampler | ListedConfigs]]:
        return Suggestions, (self.sampler,)

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> Trial | None:
        """Return the next trial, tagged by its number, with one copy of its configuration.

        Ray's tag repeats the configuration, and stands in each result and checkpoint.
        """
        trial = super().create_trial_if_possible(experiment_spec)
        if trial is not None:
            trial.set_experiment_tag(str(trial.config["number"]))
            # Ray keeps more copies of each configuration, which were half of its snapshot.
            vars(trial).update(evaluated_params={}, _Trial__unresolved_config={})
        return trial

    def know(self, trials: Sequence[Trial]) -> None:
        """Be told which trials Ray's snapshot has, before ``set_state``.

        Its files are written one after another: a kill leaves those of two moments.
        """
        assert isinstance(self.sampler, OptunaSampler)  # a fixed list starts again
        self.sampler.known = {trial.config["number"] for trial in trials}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, in which the search may have been over."""
        # The snapshot says how many trials were asked for then, and that the search is over. Both
        # are wrong where trials were added.
        state |= {"total_samples": self.sampler.trials, "finished": False}
        if isinstance(self.sampler, OptunaSampler):  # which has been restored
            state["counter"] = self.sampler.handed_out
        super().set_state(state)


def _trainable(
    trial: type[EmgTrial],
    data: TrialData,
    resources: Resources,
    settings: SearchConfig,
    pulse: Pulse,
    start: Start | None,
) -> Any:
    return tune.with_resources(
        tune.with_parameters(
            trial,
            data=data,
            code=installed(),
            start=start,
            cpus=resources.threads,
            gpus=resources.gpus,
            save_every=settings.save_every,
            patience=settings.hang_after or FIRST_EPOCH,
            pulse=None if pulse.folder is None else str(pulse.folder),
            # A search decides it for several users; one of an older version ranked all windows.
            rank_by=settings.rank_by or "pooled",
        ),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )


def _callbacks(settings: SearchConfig, recorder: Recorder) -> list[tune.Callback]:
    """Return what hears of trials: the recorder first, so that the others find its records."""
    console, folder = recorder.progress.console, recorder.folder.path
    tell = functools.partial(say, console)
    return [recorder, _Silent(), *loggers(settings.log_to, folder, recorder.record_of, tell)]


class _Silent(TrialProgressCallback):
    """Stands where Ray would put what prints of trials that end without a result."""

    def log_result(self, *_: Any, **__: Any) -> None:
        pass

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        pass


def _storage(folder: RunFolder, name: str = "") -> str:
    """Return where Ray keeps trials and checkpoints: in the run folder, or in its copy."""
    if folder.mirror is None:
        return str(folder.path.absolute() / name)
    place = folder.mirror.place
    return (place / name).uri if name else place.uri


def _fit(tuner: tune.Tuner, recorder: Recorder, resources: Resources) -> None:
    snapshot = False
    uploads = recorder.folder.mirror is not None
    event = threading.Event()
    # Without the patch it is Ray's own handler that ends the loop.
    recorder.end_loop = _interrupt if ended_by.objection() else event.set
    try:
        with (
            _in_own_words(),
            # These contexts change Ray only while this search runs. A notebook's own use of Ray
            # stays as it is.
            trainable_at_hand(),
            waiting(trials_ahead(resources)),
            processes_kept(),
            failed_resets_retried(),
            stored_here(),
            whole_snapshots(),
            # In an object store each snapshot is an upload, so there they come at Ray's own
            # intervals.
            contextlib.nullcontext() if uploads else frequent_snapshots(),
            ended_by(event),
            last_weights_saved(recorder),
            _ended_by_signals(recorder),
        ):
            tuner.fit()
        snapshot = True
    except SnapshotError as error:
        raise ValueError(_unreadable(recorder, error)) from error
    except BaseException as error:
        if is_disk_full(error):
            recorder.ending = Ending(Why.DISK_FULL)
        elif isinstance(error, Exception):
            recorder.ending = Ending(Why.SEARCH_FAILED, message=str(explain(error)))
        if not recorder.is_disk_full:
            recorder.finish(snapshot)
            raise
    recorder.finish(snapshot)


@contextlib.contextmanager
def _in_own_words() -> Iterator[None]:
    """Leave out what Ray says of trials that a search ends with: the ranking says it in words."""

    def is_new(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Trials did not complete")

    log = logging.getLogger("ray.tune.tune")
    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def _interrupt() -> None:
    """Send this process what Ctrl-C sends."""
    signal.raise_signal(signal.SIGINT)


def _unreadable(recorder: Recorder, error: BaseException) -> str:
    """Return the message for a snapshot that cannot be read; nothing was trained."""
    recorder.folder.release()
    path = recorder.folder.path
    return (
        f"{path}: cannot be resumed: the snapshot of its trials in {ENGINE_FOLDER} cannot be read: "
        f"{error}. Its tables stay: learn from them with --warm-start {shlex.quote(str(path))}"
    )


@contextlib.contextmanager
def _ended_by_signals(recorder: Recorder) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, as batch systems and containers send it, end a search in order."""
    # Python sets signal handlers in the main thread only. In any other, the program around it
    # decides.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: object) -> None:
        # The first signal ends the search in order, a further one at once.
        if not recorder.interrupt():
            raise KeyboardInterrupt

    for number in known:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in known.items():
            signal.signal(number, before)


def _trial_name(trial: Trial) -> str:
    return f"{trial.config['number']:04d}"
