"""Worker processes for simulations that do not depend on each other, and the type of their progress reports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Progress = Callable[[str], None]
"""Receives one line for a person whenever a simulation has finished."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_in_processes(function: Callable[[Job], Result], jobs: Sequence[Job], processes: int) -> Iterator[Result]:
    """The results of `function` in the order of `jobs`; in this process where one process or one job is enough.

    function, jobs and results must be picklable. Workers are spawned, as a fork would copy the threads of ONNX Runtime.
    """
    if processes <= 1 or len(jobs) <= 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, jobs)
