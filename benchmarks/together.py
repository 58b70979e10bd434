"""Trials that train at once on one machine: a process each, told when to begin and for how long."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from types import TracebackType

import torch

from benchmarks import data
from emgmodels.compute.allocator import keep_freed_memory
from emgmodels.compute.devices import find_device
from emgmodels.compute.onednn import fast_products
from emgmodels.config import Config
from emgmodels.training.state import Training
from emgmodels.windows.batches import window_starts
from emgmodels.windows.cache import prepare


class Trainers:
    """Processes that each train a configuration, as the workers of a search do.

    Args:
        count: how many.
        config: what each trains.
        device: where.
        minutes: length of the session that an epoch goes through.
    """

    def __init__(self, count: int, config: Config, device: str, minutes: float) -> None:
        data.sessions(1, minutes)
        spawn = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            here, there = spawn.Pipe()
            self._pipes.append(here)
            arguments = (there, config.model_dump_json(), device, minutes)
            self._processes.append(spawn.Process(target=_train, args=arguments, daemon=True))

    def __enter__(self) -> Trainers:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.start()
            pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            pipe.send(None)
            process.join()

    def windows_a_second(self, together: int, threads: int, seconds: float) -> float:
        """Let the first few train at once; return the windows that all of them trained a second.

        Args:
            together: how many.
            threads: torch threads of each.
            seconds: how long; the epoch that is under way is brought to its end.
        """
        pipes = self._pipes[:together]
        for pipe in pipes:
            pipe.send((threads, seconds))
        return sum(pipe.recv() for pipe in pipes)


def _train(pipe: Connection, config: str, device: str, minutes: float) -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    recordings = prepare(data.sessions(1, minutes))
    run = Training(Config.model_validate_json(config), find_device(device))
    windows = len(window_starts(recordings, run.feed.train_cut.window))
    with fast_products(run.device):
        run.train_epoch(1, recordings)
        pipe.send("ready")
        while (order := pipe.recv()) is not None:
            threads, seconds = order
            torch.set_num_threads(threads)
            epochs, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                run.train_epoch(1, recordings)
                epochs += 1
            pipe.send(epochs * windows / (time.perf_counter() - begin))
