"""Cells side by side: each in a process of its own with its share of the cores, in order, as soon
as what it needs is there."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import torch

from tinybert.errors import TinybertError
from tinybert.jobs.reproduce.cells import Cell, Prints
from tinybert.jobs.reproduce.make import make_cell
from tinybert.progress import Reporter
from tinybert.settings import ReproduceSettings

__all__ = ["make_cells"]

Done = Callable[[Cell, dict[str, Any]], None]
Failed = Callable[[Cell, str], None]


def make_cells(
    settings: ReproduceSettings,
    prints: Prints,
    cells: Mapping[Cell, tuple[Cell, ...]],
    finished: set[Cell],
    reporter: Reporter,
    done: Done,
    failed: Failed,
) -> None:
    """Make what is missing; a cell that fails stops nothing but those that need it.

    Args:
        settings: of the reproduction; ``jobs`` cells are made at a time.
        prints: fingerprints of what is read.
        cells: cell → those that it needs, in the order in which they are made.
        finished: those that are there; grows.
        reporter: of a single job, which is told of in full.
        done, failed: called in this process as cells end, with the results or the reason.
    """
    waiting = [cell for cell in cells if cell not in finished]
    lost: set[Cell] = set()

    def ready() -> Cell | None:
        for cell in list(waiting):
            if any(need in lost for need in cells[cell]):
                waiting.remove(cell)
                lost.add(cell)
                failed(cell, "what it needs could not be made")
            elif all(need in finished for need in cells[cell]):
                waiting.remove(cell)
                return cell
        return None

    def ended(cell: Cell, results: Callable[[], dict[str, Any]]) -> None:
        try:
            found = results()
        except BrokenProcessPool:
            raise
        except TinybertError as error:
            lost.add(cell)
            failed(cell, str(error))
        except Exception as error:  # noqa: BLE001 - the others' hours are not lost by it
            lost.add(cell)
            failed(cell, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            finished.add(cell)
            done(cell, found)

    if settings.jobs == 1:
        while (cell := ready()) is not None:
            reporter.heading(cell.title)
            ended(cell, partial(make_cell, settings, prints, cell, reporter))
        return
    threads = max(1, torch.get_num_threads() // settings.jobs)
    with ProcessPoolExecutor(
        settings.jobs,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(threads,),
    ) as pool:
        running: dict[Future[dict[str, Any]], Cell] = {}
        try:
            while True:
                while len(running) < settings.jobs and (cell := ready()) is not None:
                    running[pool.submit(_work, settings, prints, cell)] = cell
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    ended(running.pop(future), future.result)
        except BrokenProcessPool:
            raise TinybertError(
                "a process that made a cell ended early, perhaps for want of memory: the same "
                "command goes on from there; fewer --jobs take less memory. A Python script that "
                'asks for several jobs does so below `if __name__ == "__main__":`.'
            ) from None
        except BaseException:
            for process in (pool._processes or {}).values():
                process.terminate()
            raise


def _begin(threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next cell for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(settings: ReproduceSettings, prints: Prints, cell: Cell) -> dict[str, Any]:
    return make_cell(settings, prints, cell, Reporter(quiet=True))
