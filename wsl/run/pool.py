"""A pool of threads with a time limit per task.

A thread cannot be killed. One that exceeds the limit is abandoned: its task fails, what it still
returns is ignored, and a new thread takes its place. The threads are daemons, so that one that
hangs forever (a dead network drive, a decoder in an endless loop) does not keep the process from
ending. One that hangs while it holds the interpreter's lock stops everything: do not submit code
that holds the lock for long.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")


def worker_count(workers: int | None) -> int:
    """Return how many threads a stage gets: `workers`, or one per core this process may use."""
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class TimeLimitError(Exception):
    """A task took longer than the limit."""


@dataclass(eq=False)
class _Task:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: Future[Any] = field(default_factory=Future)
    started: float = 0.0


class WorkerPool:
    """Daemon threads for tasks, each with a time limit.

    Parameters
    ----------
    threads : int
    name : str
        Name of the threads.
    time_limit : float, optional
        Seconds for one task; None is no limit. Exceeding it makes the task's future raise a
        `TimeLimitError`, at most half of the limit (or two seconds) late. The time for which the
        whole process is stopped (SIGSTOP, a suspended machine) does not count.
    """

    def __init__(self, threads: int, *, name: str, time_limit: float | None = None) -> None:
        self._name = name
        self._limit = time_limit
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._clock = 0.0  # seconds for which the process ran, as far as `_watch` has seen
        self._running: dict[_Task, threading.Thread] = {}
        self._threads: list[threading.Thread] = []
        self._given_up: list[threading.Thread] = []
        self._closed = threading.Event()
        for _ in range(threads):
            self._start_thread()
        if time_limit is not None:
            threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True).start()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a thread call `function`; tasks start in the order of submission."""
        task = _Task(function, arguments)
        self._tasks.put(task)
        return task.future

    @property
    def hanging(self) -> int:
        """How many threads were given up and still hang."""
        self._given_up = [thread for thread in self._given_up if thread.is_alive()]
        return len(self._given_up)

    def close(self, *, cancel: bool = False, patience: float | None = None) -> None:
        """Let the threads end.

        Parameters
        ----------
        cancel : bool
            Cancel the tasks that have not begun, instead of doing them.
        patience : float, optional
            Wait at most so many seconds for the tasks that run; None is as long as they take.
        """
        if cancel:
            self._cancel_waiting()
        until = None if patience is None else time.monotonic() + patience
        with self._lock:
            threads = list(self._threads)
            for _ in threads:
                self._tasks.put(None)
        while threads:  # a thread given up meanwhile is replaced by one to wait for
            threads[0].join(
                0.05 if until is None else max(0.0, min(0.05, until - time.monotonic()))
            )
            if until is not None and time.monotonic() >= until:
                break
            with self._lock:
                threads = [thread for thread in self._threads if thread.is_alive()]
        self._closed.set()

    def _cancel_waiting(self) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            if task is not None:
                task.future.cancel()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            with self._lock:
                task.started = self._clock
                self._running[task] = threading.current_thread()
            result, error = None, None
            try:
                result = task.function(*task.arguments)
            except BaseException as raised:
                error = raised
            with self._lock:
                if self._running.pop(task, None) is None:
                    return  # given up; another thread has this one's place
            if error is None:
                task.future.set_result(result)
            else:
                task.future.set_exception(error)
            del task, result, error  # an idle thread holds on to nothing

    def _watch(self) -> None:
        limit = self._limit or 0.0
        tick = min(1.0, limit / 4)
        while not self._closed.wait(tick):
            with self._lock:
                self._clock += tick
                late = self._clock - limit - tick  # a task may have begun just before a tick
                hung = [task for task in self._running if task.started <= late]
                for task in hung:
                    thread = self._running.pop(task)
                    self._threads.remove(thread)
                    self._given_up.append(thread)
                    self._start_thread()
            for task in hung:
                task.future.set_exception(TimeLimitError(f"took longer than {limit:g} s"))
