"""The pool of threads: order, errors, limits."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from wsl.run.pool import TimeLimitError, WorkerPool


def test_results_and_errors_come_back():
    pool = WorkerPool(2, name="t")
    futures = [pool.submit(divmod, 7, by) for by in (2, 0, 3)]
    assert futures[0].result() == (3, 1)
    with pytest.raises(ZeroDivisionError, match="zero"):
        futures[1].result()
    assert futures[2].result() == (2, 1)
    pool.close()


def test_one_thread_keeps_the_order_and_closing_does_what_waits():
    pool = WorkerPool(1, name="t")
    seen = []
    futures = [pool.submit(seen.append, number) for number in range(20)]
    pool.close()
    assert seen == list(range(20))
    assert all(future.done() for future in futures)


def test_a_task_over_the_limit_fails_and_its_thread_is_replaced():
    pool = WorkerPool(1, name="t", time_limit=0.2)
    release = threading.Event()
    hung, after = pool.submit(release.wait, 30), pool.submit(len, "abc")
    with pytest.raises(TimeLimitError, match=r"took longer than 0\.2 s"):
        hung.result(timeout=10)
    assert after.result(timeout=10) == 3
    assert pool.hanging == 1
    release.set()
    deadline = time.monotonic() + 10
    while pool.hanging and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pool.hanging == 0
    pool.close()


def test_closing_early_cancels_what_waits_and_is_patient_for_so_long_only():
    pool = WorkerPool(1, name="t")
    release = threading.Event()
    begun = threading.Event()
    running = pool.submit(lambda: (begun.set(), release.wait(30)))
    waiting = pool.submit(len, "abc")
    begun.wait(10)
    begin = time.monotonic()
    pool.close(cancel=True, patience=0.2)
    assert time.monotonic() - begin < 5
    assert waiting.cancelled()
    assert not running.done()
    release.set()
    running.result(timeout=10)


STOPPED = """
import os, time
from wsl.run.pool import WorkerPool
pool = WorkerPool(1, name="t", time_limit=0.4)
task = pool.submit(time.sleep, 0.2)
print(os.getpid(), flush=True)
task.result()
"""


def test_the_time_for_which_the_process_is_stopped_does_not_count():
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE) as process:
        number = int(process.stdout.readline())
        os.kill(number, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(number, signal.SIGCONT)
        assert process.wait(timeout=30) == 0
