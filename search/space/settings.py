"""The fixed sections of a space file: constraints, search and its scheduler, the demo's typist."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WrapValidator,
    field_validator,
    model_validator,
)

from emgmodels.config import Frozen, ModelConfig, PositiveInt, TrainingConfig, Whole
from emgmodels.scoring import RankBy
from emgmodels.sessions.people import People, people_of
from search.space.choices import Choice, Chosen, OwnCode  # noqa: F401 - older snapshots' names

SamplerName = Literal["tpe", "random", "gp", "cmaes", "nsga2", "grid", "quasirandom"]
SchedulerName = Literal["asha", "asha_stopping", "hyperband", "median", "none"]
Ranking = Literal["loss", "cer", "both"]
Resource = Literal["epochs", "seconds", "macs"]
Objective = Literal["val_cer", "parameters", "macs", "lookahead_ms", "electrodes"]
LogTo = Literal["wandb", "mlflow"]

SCHEDULER_OPTIONS: dict[str, tuple[str, ...]] = {
    "asha": ("grace", "eta", "rank_by", "resource", "max_seconds", "max_macs"),
    "asha_stopping": ("grace", "eta", "rank_by", "resource", "max_seconds", "max_macs"),
    "hyperband": ("eta",),
    "median": ("grace",),
    "none": (),
}
"""The options that each scheduler takes: fields of ``SchedulerConfig``."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


def seconds(duration: Any) -> Any:
    """Return the seconds of a duration such as ``90``, ``8m`` or ``1h30m``.

    Raises:
        ValueError: the text is not a duration.
    """
    if not isinstance(duration, str):
        return duration
    if not _DURATION.fullmatch(duration):
        raise ValueError("must be seconds or a duration such as 90s, 8m, 1h30m or 2d")
    parts = re.findall(r"([\d.]+)([dhms])", duration)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _seconds_or_number(value: Any, check: Callable[[Any], float | None]) -> float | None:
    """Return a duration as seconds, always a float, and any other whole number as an integer."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return check(seconds(value))
    found = check(value)
    return int(found) if found is not None and found.is_integer() else found


def by_name(value: Any) -> Any:
    """Return the section that a name alone stands for."""
    return {"name": value} if isinstance(value, str) else value


def _check_objectives(names: tuple[Objective, ...]) -> tuple[Objective, ...]:
    # The ranking, the rungs and the report are by CER.
    if "val_cer" not in names:
        raise ValueError("must name val_cer, alone or among others")
    if len(set(names)) != len(names):
        raise ValueError("must name each objective once")
    return names


def _one_or_more(value: Any) -> Any:
    """Return names as a list, also where one stands alone."""
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    if not isinstance(value, list | tuple):
        raise ValueError("must be wandb, mlflow, or a list of both")
    return tuple(value)


def _check_named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("must name each once")
    return names


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be up to 64 letters, digits, dots, dashes and underscores")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
"""A name that is also the name of a file or folder."""


class Constraints(Frozen):
    """What every trained architecture must satisfy."""

    max_parameters: PositiveInt | None = None
    """Most trainable parameters."""
    max_macs: Annotated[float, Field(gt=0)] | None = None
    """Most multiply-accumulates for one second of EMG."""
    max_memory_mb: Annotated[float, Field(gt=0)] | None = None
    """Most memory that a training step may need (MB of 2**20 bytes), as
    ``emgmodels.network.memory_estimate`` estimates it at the batch size; a process's own few
    hundred MB come on top."""
    max_lookahead_ms: Annotated[float, Field(ge=0)] | None = None
    """Longest EMG that an output waits for (ms); a model that sees its whole window has no end."""
    max_context_ms: Annotated[float, Field(ge=0)] | None = None
    """Most EMG that valid convolutions consume around a window (ms); a search takes what its
    shortest session leaves if that is less."""


class SamplerConfig(Choice):
    """Who suggests the next architecture."""

    name: SamplerName = "tpe"
    """The sampler; one of your own has its settings beside the name."""


class SchedulerConfig(Choice):
    """Which trials go on; what is left out is the scheduler's own default."""

    name: SchedulerName = "asha"
    """The scheduler; ``none`` trains every trial to its last epoch."""
    grace: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        WrapValidator(_seconds_or_number),
        PlainSerializer(lambda grace: grace),  # else an epoch would be written as 4.0
    ] = None
    """Epochs that every trial is given before it is compared. asha: 4, or 3 where the
    shortest aligned start of the space has 3. In trainings of fewer than 12 epochs it is a third
    of them at most, rounded down, and at least 1. With another ``resource`` so much of it: seconds,
    a duration such as 2m, or multiply-accumulates; the same part of a whole training."""
    eta: Annotated[float, Field(ge=1.01, allow_inf_nan=False)] | None = None
    """One trial in eta goes on from rung to rung. asha: 1.5, or 3 where all start aligned for
    3 epochs or more. In trainings of fewer than 9 epochs a third of them is enough, rounded down,
    and at least 1. So 4 epochs with 2 aligned ones have rungs at 1 and 3, and one in 3 goes on.
    2 epochs have a rung at 1."""
    rank_by: Ranking | None = None
    """What is compared at a rung: the ``cer``, the validation ``loss``, or ``both``: their product,
    asha's own."""
    resource: Resource | None = None
    """What rungs count: ``epochs`` (asha's own), ``seconds`` of training, or ``macs``, its
    multiply-accumulates. By the last two slow and fast architectures meet at equal cost."""
    max_seconds: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(seconds)
    ] = None
    """With ``resource: seconds``, training after which a trial ends and counts by what it has:
    seconds, or a duration such as 10m."""
    max_macs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """With ``resource: macs``, multiply-accumulates of training after which a trial ends and counts
    by what it has; without it, twice those of a typical architecture's whole training."""

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given, by name."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "name"}
        return {name: value for name, value in given.items() if value is not None}

    @field_validator("name", mode="before")
    @classmethod
    def _refuse_pbt(cls, name: Any) -> Any:
        # Named here, so that a user who knows it from Ray reads why it is missing.
        if name == "pbt":
            raise ValueError(
                "scheduler pbt copies weights from trial to trial and changes settings on the way: "
                "what it finds is of one architecture only, and no configuration that could be "
                "trained again. Take asha, and let the space vary the settings of training"
            )
        return name

    @model_validator(mode="after")
    def _check_name(self) -> SchedulerConfig:
        if self.name in self.own:
            return self
        takes = SCHEDULER_OPTIONS[self.name]
        # Settings of the user's own are fields of a derived class; check_settings looks at them.
        for option in SchedulerConfig.model_fields:
            if option != "name" and getattr(self, option) is not None and option not in takes:
                raise ValueError(
                    f"scheduler '{self.name}' has no option '{option}'; its options: "
                    f"{', '.join(takes) or 'none'}. Leave {option} out, or name another scheduler "
                    f"beside it: {{name: asha, {option}: ...}}"
                )
        return self

    # Not a validator: each value of a space's layers is checked alone before all are merged.
    def check_resource(self) -> None:
        """Raise ValueError where what rungs count, and how far they go, do not fit together."""
        resource = self.resource or "epochs"
        for other, most in (("seconds", self.max_seconds), ("macs", self.max_macs)):
            if most is not None and resource != other:
                raise ValueError(
                    f"max_{other} {most:g} is for rungs that count {other}, and these count "
                    f"{resource}: add 'resource: {other}', or leave max_{other} out"
                )
        if resource == "seconds" and self.max_seconds is None:
            raise ValueError(
                "resource seconds needs max_seconds, the training after which a trial ends: add "
                "it, such as 'max_seconds: 10m'"
            )
        is_time = isinstance(self.grace, float) and self.grace.is_integer()
        if isinstance(self.grace, float) and (
            resource == "epochs" or (resource == "macs" and is_time)
        ):
            raise ValueError(
                f"grace {self.grace:g}{' s' * is_time}: rungs count {resource}: write "
                f"{'a whole number' if resource == 'epochs' else 'how many'} of them, or add "
                f"'resource: seconds' for time"
            )
        longest = self.max_seconds if resource == "seconds" else self.max_macs
        if self.grace is not None and longest is not None and self.grace >= longest:
            raise ValueError(
                f"grace {self.grace:g}: the first rung must stand below max_{resource} "
                f"({longest:g}): lower grace, or raise max_{resource}"
            )


def _trials(given: Any) -> Any:
    """Return the number in ``20 trials``."""
    words = given.split() if isinstance(given, str) else []
    return int(words[0]) if words[1:] == ["trials"] and words[0].isdecimal() else given


class ImprovementConfig(Frozen):
    """When too little is left to gain."""

    points: Annotated[float, Field(ge=0, lt=100)] = 0.3
    """How much better than the best a further trial would have to be (CER points)."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The search ends when the chance that any trial left to train is so much better falls below;
    it is estimated from the trials that ended, and takes 8 of them."""


class StopConfig(Frozen):
    """When a search ends before its last trial: as soon as one of these holds."""

    target_cer: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A trial has a validation CER as low as this (%)."""
    patience: Annotated[PositiveInt | None, BeforeValidator(_trials)] = None
    """So many trials in a row ended without a new best: ``20``, or ``20 trials``."""
    improvement: ImprovementConfig | None = None
    """A better trial has become unlikely: ``{points: 0.3, probability: 0.05}``."""


class SearchConfig(Frozen):
    """How the space is searched."""

    trials: PositiveInt = 64
    """Architectures to train, the stopped ones included."""
    sampler: Annotated[SamplerConfig, BeforeValidator(by_name)] = SamplerConfig()
    """Who suggests the next architecture: a name, or a mapping with its settings."""
    scheduler: Annotated[SchedulerConfig, BeforeValidator(by_name)] = SchedulerConfig()
    """Who decides which trials go on: a name, or a mapping with its options."""
    start_with: tuple[str | dict[str, Any], ...] = ()
    """Architectures to try first, in compact notation or as a part of the ``model`` section."""
    rank_by: RankBy | None = None
    """The validation CER that all follows, from rungs to ranking: of all windows together
    (``pooled``), the mean over users (``mean_user``), or that of the worst of them; null: the mean
    where validation has several users."""
    objectives: Annotated[tuple[Objective, ...], AfterValidator(_check_objectives)] = ("val_cer",)
    """What is minimised; several give a Pareto front, which the rungs of asha keep. ``electrodes``
    are those of all bands together."""
    time_budget: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(seconds)
    ] = None
    """When to end, with running trials cut off: seconds, or a duration such as 8m or 1h30m.
    ``--resume`` goes on for what is left of it, or for as long again where it was spent."""
    stop: StopConfig | None = None
    """When to end before the last trial; off without it. ``--resume --add-trials`` goes on."""
    save_every: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)], BeforeValidator(seconds)
    ] = 600.0
    """Training that a lost node may cost a trial: seconds, or a duration such as 10m."""
    checkpoints: PositiveInt = 3
    """Trials, the best ones, whose checkpoints are kept."""
    hang_after: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(seconds)
    ] = None
    """Seconds, or a duration, without a report after which a trial is started again; without it, 20
    times the longest epoch seen and at least 10 minutes, an hour before the first epoch of all."""
    log_to: Annotated[
        tuple[LogTo, ...], BeforeValidator(_one_or_more), AfterValidator(_check_named_once)
    ] = ()
    """Where trials are logged beside the run folder: wandb (Weights & Biases), mlflow, or both."""
    repeats: PositiveInt = 1
    """Trainings of each suggestion, each with its own seed; several take a sampler that does not
    learn from results, and scheduler none."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed that every random choice of the search follows from."""

    @model_validator(mode="after")
    def _check_sampler(self) -> SearchConfig:
        self.sampler.check_settings("sampler", ())
        self.scheduler.check_settings("scheduler", SCHEDULER_OPTIONS.get(self.scheduler.name, ()))
        self.scheduler.check_resource()
        if self.sampler.name == "cmaes" and len(self.objectives) > 1:
            raise ValueError(
                "sampler cmaes minimises one objective: name one objective, or take the sampler "
                "tpe, nsga2, gp, random, quasirandom or grid"
            )
        return self


class TypistConfig(Frozen):
    """The synthetic typist whose sessions stand in where no data is given."""

    sessions: PositiveInt = 8
    """Sessions to write."""
    minutes: Annotated[float, Field(ge=0.25, le=600)] = 2.0
    """Length of each session (minutes)."""
    subject: Name = "synthetic"
    """Who types: forearms and placement of the electrodes follow from the name and the seed."""
    users: PositiveInt = 1
    """Typists, each with anatomy, habits and rhythm of their own and that many sessions; of
    several, ``data.people`` says who is held out."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of the person and of what is typed."""


class DataConfig(Frozen):
    """Which sessions of the data train, validate and test."""

    people: Annotated[People | None, BeforeValidator(people_of)] = None
    """Hold out whole users: ``val=2,test=2`` as ``--people`` takes it, or ``{val: 2, test: 2}``;
    null: sessions of one user, or a split file."""


class Sections(Frozen):
    """What a space file and its ``demo`` section may both contain."""

    model: ModelConfig = ModelConfig()
    """Architectures; any value may be a distribution."""
    training: TrainingConfig = TrainingConfig()
    """Hyperparameters; any value may be a distribution."""
    constraints: Constraints = Constraints()
    """What every trained architecture must satisfy."""
    search: SearchConfig = SearchConfig()
    """How the space is searched."""
    data: DataConfig = DataConfig()
    """Which sessions of the data train, validate and test."""
    typist: TypistConfig | None = None
    """Synthetic data, used where none is given."""


class Entry(Frozen):
    """An option among architectures that brings its own training."""

    model: ModelConfig = ModelConfig()
    """The architecture, in compact notation or as a section."""
    training: TrainingConfig = TrainingConfig()
    """Its training; what is left out is that of the file."""


Names = dict[str, str]
"""Code of the user's own by name, as ``search.space.own`` reads it."""


class SpaceFile(Sections):
    """A whole space file."""

    name: Name | None = None
    """What to call it; without it, the file's name."""
    extends: str | None = None
    """Another space file whose keys are defaults of this one."""
    stages: Names = Field({})
    """Stages of your own: ``{mine: my_blocks.py:NAME}``, or ``package.module:NAME``. They are named
    in ``order`` and have sections as others do."""
    schedulers: Names = Field({})
    """Schedulers of your own, named in the same way, for ``search.scheduler``."""
    samplers: Names = Field({})
    """Samplers of your own, for ``search.sampler``."""
    augmentations: Names = Field({})
    """Augmentations of your own; one that has a section in ``training.augmentation`` is applied."""
    demo: Sections | None = None
    """What holds instead where no data is given."""
