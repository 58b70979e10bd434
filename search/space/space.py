"""A validated space: suggests configurations, checks them, and writes itself as YAML."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from emgmodels.config import (
    Config,
    Frozen,
    ModelConfig,
    PretrainedConfig,
    TrainingConfig,
    displaced,
    explain,
)
from emgmodels.notation import parse_notation
from search.space.distributions import Node, OutsideError
from search.space.draws import Draw, RandomDraw, combinations
from search.space.feasibility import UNBUILT, Feasibility, Tried, nothing_trained
from search.space.own import Own
from search.space.parsing import SpaceError
from search.space.sections import Section
from search.space.session_limits import Sessions
from search.space.settings import Constraints, DataConfig, Entry, SearchConfig, TypistConfig
from search.space.start import SpaceStart
from search.space.walks import fixed_values, varying

if TYPE_CHECKING:
    from emgmodels.network.summary import Summary

LARGEST_GRID = 20_000
"""Combinations that are still counted one by one, and searched by ``sampler: grid``."""
_COMPLETIONS = 20
_OFTEN = 30
"""Samples with a value of which none can be built, so that the value is taken for impossible."""


@dataclass(frozen=True)
class Space:
    """A space of configurations; ``load_space`` reads one and finds its mistakes."""

    name: str
    """What the search is called."""
    model: Node
    """The ``model`` section."""
    training: Node
    """The ``training`` section."""
    constraints: Constraints
    """What every trained architecture satisfies."""
    search: SearchConfig
    """How the space is searched."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which sessions train, validate and test."""
    typist: TypistConfig | None = None
    """Synthetic data, where the space asks for it."""
    sessions: Sessions | None = None
    """What it is searched on, once that is known."""
    own: Own = field(default_factory=Own)
    """Stages, schedulers, samplers and augmentations of the user's own."""
    together: Node | None = None
    """A choice of architectures that bring their own training, where there is one; ``model`` and
    ``training`` are then its parts."""
    start: SpaceStart | None = None
    """The checkpoint that all trainings start from, if any."""
    file: str = field(default="space", compare=False)
    """Where it was read from; messages begin with it."""

    @property
    def _root(self) -> tuple[Node, str]:
        """What ``model`` and ``training`` are drawn from, as a mapping of both, and its path."""
        if self.together is not None:
            return self.together, "model"  # they are options of that choice
        return Section(Entry, {"model": self.model, "training": self.training}), ""

    def suggest(self, trial: Draw) -> Config:
        """Return a configuration whose varying values are drawn by ``trial``.

        Args:
            trial: an Optuna trial, or anything else that suggests values.

        Raises:
            ValueError: the values drawn do not make a configuration.
        """
        return self._config(self.draw(trial))

    def params_of(self, target: Config | Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters under which ``suggest`` returns a configuration.

        Args:
            target: a whole configuration, or a mapping with parts of ``model`` and ``training``.
                What a mapping leaves out has its default where the space contains it, and is
                left out of the parameters where it does not.

        Raises:
            OutsideError: the space does not contain the target; the message says which value.
        """
        if isinstance(target, Config):
            target = target.model_dump(include={"model", "training"})
            # What stands in the place of a default, such as another kind of warm-up.
            for name in displaced(target["training"]):
                del target["training"][name]
            if target["training"]["unshare"]:  # which is what gave the hands their own
                target["model"]["own_hands"] = False
        if self.together is not None:
            return self.together.params(dict(target), "model")
        parts = {"model": self.model, "training": self.training}
        found: dict[str, Any] = {}
        for name, node in parts.items():
            found |= node.params(target.get(name, {}), name)
        return found

    def start_points(self) -> list[dict[str, Any]]:
        """Return the parameters of the architectures in ``search.start_with``."""
        known = self.search.start_with
        return [self.params_of({"model": partial(start, self.own.model)}) for start in known]

    def start_mistake(self, known: str | Mapping[str, Any], seed: int = 0) -> str | None:
        """Return why no completion of a start point can be trained in this space, or None."""
        try:
            params = self.params_of({"model": partial(known, self.own.model)})
        except OutsideError as error:
            return str(error)
        # A start point may leave settings open. It is wrong only if no way to fill them works.
        rng, mistake = np.random.default_rng(seed), ""
        for _ in range(_COMPLETIONS):
            if (reason := self._reason(self.draw(RandomDraw(rng, params)))) is None:
                return None
            mistake = reason[1]
        return mistake

    def grid(self) -> Iterator[Config]:
        """Yield every configuration once.

        Raises:
            ValueError: a value is continuous; the message says which.
        """
        for _, config in self.grid_points():
            yield config

    def grid_points(self) -> Iterator[tuple[dict[str, Any], Config]]:
        """Yield every configuration once, with its parameters; as ``grid`` otherwise."""
        if (path := self._continuous()) is not None:
            raise ValueError(
                f"{path} is continuous and has no grid: give it a step, or write {{choice: [...]}}"
            )
        # Different parameters may lead to equal configurations, and each is trained once.
        seen: set[Config] = set()
        for params, values in combinations(self.draw):
            try:
                config = self._config(values)
            except ValueError:
                continue
            if config not in seen:
                seen.add(config)
                yield params, config

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are, None where a value is continuous.

        Exact up to ``LARGEST_GRID`` combinations; beyond, options of a choice that overlap are
        counted twice.
        """
        count = self._root[0].count()
        if math.isinf(count):
            return None
        return sum(1 for _ in self.grid()) if count <= LARGEST_GRID else int(count)

    @property
    def trials(self) -> int:
        """Trainings of a search at most: fewer than are asked for if there are no more to train."""
        most = self.search.trials
        return min(most, self.size or most) * self.search.repeats

    def violation(self, config: Config) -> str | None:
        """Return why a configuration must not be trained, or None where it may."""
        found = self._violation(config)
        return found and found[1]

    def check(self, samples: int = 200, seed: int = 0) -> Feasibility:
        """Try the space and its start points before anything is trained.

        Args:
            samples: configurations to try; a space with fewer is tried as a whole.
            seed: of the random samples.

        Raises:
            SpaceError: nothing can be built within the constraints, a start point cannot, or a
                value can be with no other.
        """
        reasons: Counter[str] = Counter()
        examples: dict[str, str] = {}
        tried = Tried()
        total = 0
        for params, values in self._samples(samples, seed):
            total += 1
            reason = self._reason(values)
            if reason is not None:
                reasons[reason[0]] += 1
                examples.setdefault(*reason)
            tried.note(params, reason)
        self._check_start_points(seed)
        # A value that fails with everything is a slip of the user. One that fails with some is
        # what constraints are for.
        if mistakes := tried.impossible(1 if self._is_small(samples) else _OFTEN):
            raise SpaceError(f"{self.file}: {mistake}" for mistake in mistakes)
        if total == sum(reasons.values()):
            kind, count = reasons.most_common(1)[0]
            nothing = nothing_trained(total, count, examples[kind])
            raise SpaceError([f"{self.file}: {nothing}"])
        named = {examples[kind]: count for kind, count in reasons.items()}
        return Feasibility(total, total - sum(reasons.values()), named)

    def within(self, sessions: Sessions) -> Space:
        """Return the space of what can be trained on given sessions."""
        longest = self.constraints.max_context_ms
        # A window may not need more context than the shortest session has.
        fitting = sessions.shortest_ms if longest is None else min(longest, sessions.shortest_ms)
        constraints = self.constraints.model_copy(update={"max_context_ms": fitting})
        return replace(self, constraints=constraints, sessions=sessions)

    def pretrained(self, samples: int = 200, seed: int = 0) -> list[PretrainedConfig]:
        """Return the pretrained stages found among sampled configurations, each name once."""
        found: dict[str, PretrainedConfig] = {}
        for _, values in self._samples(samples, seed):
            with contextlib.suppress(ValueError):
                for _, stage in self._config(values).model.encoder.stages():
                    if isinstance(stage, PretrainedConfig) and stage.weights == "pretrained":
                        found.setdefault(stage.name, stage)
        return list(found.values())

    @property
    def epochs(self) -> int:
        """Epochs of a whole training; of the longest one where all are trained to their end.

        Raises:
            ValueError: they vary, and trials are stopped on the way.
        """
        # Rungs stand at epochs, so trials of different lengths cannot be compared at them.
        found = fixed_values(self.training, "epochs", TrainingConfig().epochs)
        if self.search.scheduler.name == "none" and all(isinstance(each, int) for each in found):
            return int(max(found))
        if len(found) > 1 or not isinstance(epochs := found.pop(), int):
            raise ValueError(
                f"{self.file}: training.epochs varies: fix it, for example with --epochs 50, since "
                f"trials are stopped on the way to it"
            )
        return epochs

    @cached_property
    def mean_epochs(self) -> float:
        """Epochs of a whole training on average, where they may differ from one to another."""
        usual = TrainingConfig().epochs
        drawn = [values["training"].get("epochs", usual) for _, values in self._samples(200, 0)]
        return float(np.mean(drawn))

    def parameters(self) -> list[str]:
        """Return the dotted names of the settings that vary, as a flattened config has them."""
        found = [*varying(self.model, "model"), *varying(self.training, "training")]
        return list(dict.fromkeys(found))

    def resolved(self) -> dict[str, Any]:
        """Return the space as plain values that load back, as YAML, to an equal space."""
        search = _given(self.search)
        search["scheduler"] = _given(self.search.scheduler)
        sampler = _given(self.search.sampler)
        search["sampler"] = sampler if len(sampler) > 1 else sampler["name"]
        trained = {} if self.together else {"training": self.training.plain()}
        sections = {
            "name": self.name,
            **self.own.plain(),
            "model": (self.together or self.model).plain(),
            **trained,
            "constraints": _given(self.constraints),
            "search": search,
        }
        if self.data.people is not None:
            sections["data"] = _given(self.data)
        return sections | ({} if self.typist is None else {"typist": _given(self.typist)})

    def draw(self, trial: Draw) -> dict[str, Any]:
        """Return the values that ``trial`` draws for ``model`` and ``training``, unchecked."""
        root, path = self._root
        drawn: dict[str, Any] = root.draw(trial, path)
        return drawn

    def _config(self, values: dict[str, Any]) -> Config:
        try:
            return Config.model_validate({"name": self.name, **values})
        except ValidationError as error:
            raise ValueError("; ".join(explain(error, "cannot be built"))) from None

    def _continuous(self) -> str | None:
        root, path = self._root
        return root.continuous(path)

    def _is_small(self, samples: int) -> bool:
        return self._root[0].count() <= samples

    def _samples(self, samples: int, seed: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield parameters and values: all of a small space, else at random."""
        if self._is_small(samples):
            yield from combinations(self.draw)
            return
        rng = np.random.default_rng(seed)
        for _ in range(samples):
            draw = RandomDraw(rng)
            values = self.draw(draw)
            yield draw.params, values

    def _reason(self, values: dict[str, Any]) -> tuple[str, str] | None:
        """Return kind and text of what keeps drawn values from being trained."""
        try:
            return self._violation(self._config(values))
        except ValueError as error:
            return UNBUILT, str(error)

    def _violation(self, config: Config) -> tuple[str, str] | None:
        # Both load PyTorch, which reading a space has no need of.
        from emgmodels.checkpoints.start import start_problem
        from emgmodels.network.memory_estimate import training_bytes
        from emgmodels.network.summary import describe

        try:
            summary = describe(config.model)
        except ValueError as error:
            return UNBUILT, f"cannot be built: {error}"
        if self.start and (problem := start_problem(config, self.start.model)) is not None:
            return "start", problem
        for name, value, unit in (
            ("max_parameters", summary.parameters, "parameters"),
            ("max_macs", summary.macs_per_second, "multiply-accumulates per second of EMG"),
            ("max_lookahead_ms", summary.lookahead_ms, "ms of look-ahead"),
            ("max_context_ms", summary.context_ms, "ms of context consumed by convolutions"),
        ):
            limit = getattr(self.constraints, name)
            if limit is not None and value > limit:
                return name, f"{value:,.10g} {unit}, more than {name} {limit:,.10g}"
        if (text := self._too_long(config, summary)) is not None:
            return "length", text
        limit = self.constraints.max_memory_mb
        prompt = self.sessions.longest_prompt_ms / 1000 if self.sessions else 0.0
        if limit is not None and (needed := training_bytes(config, prompt) / 2**20) > limit:
            return "max_memory_mb", f"{needed:,.0f} MB to train, more than max_memory_mb {limit:,g}"
        return None

    def _too_long(self, config: Config, summary: Summary) -> str | None:
        """Return why windows or reach of a configuration do not fit, or None."""
        training = config.training
        window = 1000 * (training.window_seconds + training.past_seconds + training.future_seconds)
        if window > summary.longest_ms:
            return (
                f"windows of {window:g} ms with their context, and a stage takes "
                f"{summary.longest_ms:,.0f} ms at once: lower training.window_seconds, or take a "
                f"larger hop"
            )
        return self.sessions.objection(config, summary) if self.sessions else None

    def _check_start_points(self, seed: int) -> None:
        """Raise SpaceError for start points of which no completion can be trained."""
        found = [self.start_mistake(known, seed) for known in self.search.start_with]
        if any(found):
            raise SpaceError(
                f"{self.file}: search.start_with[{index}]: {mistake}"
                for index, mistake in enumerate(found)
                if mistake
            )


def partial(
    known: str | Mapping[str, Any], kind: type[ModelConfig] = ModelConfig
) -> dict[str, Any]:
    """Return the part of a ``model`` section, of a class, that a start point gives."""
    if isinstance(known, str):
        return parse_notation(known, kind).model_dump(exclude_unset=True)
    return dict(known)


def _given(config: Frozen) -> dict[str, Any]:
    dumped = config.model_dump(mode="json")
    return {name: value for name, value in dumped.items() if value is not None}
