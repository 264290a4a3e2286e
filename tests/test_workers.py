import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from congener import errors
from congener.errors import CongenerError, ImageError
from congener.workers import _START, WorkerError, Workers

from . import troublesome

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One process, which is closed and gone afterwards."""
    with Workers(1) as workers:
        yield workers


def children() -> set[int]:
    """Return the processes that this one has started and not yet taken leave of, dead ones included."""
    task = Path("/proc/self/task")
    return {int(pid) for thread in task.iterdir() for pid in (thread / "children").read_text().split()}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks /proc for processes")


def test_a_function_runs_in_another_process(workers: Workers) -> None:
    first = workers.call(troublesome.process_id)
    assert first != os.getpid()
    assert workers.call(troublesome.process_id) == first  # the same again


def test_arguments_and_results_are_those_of_the_function(workers: Workers) -> None:
    value = {"a": [1, (2.5, None)], "b": b"\0", "path": "Käfer \udcff"}
    assert workers.call(troublesome.echo, value) == value
    pixels = workers.call(troublesome.array, "uint8", 400, 300, 3)  # several times a pipe's room
    assert (pixels == troublesome.array("uint8", 400, 300, 3)).all()
    assert workers.call(troublesome.echo, np.zeros(10**6)).shape == (10**6,)


def test_a_result_that_is_not_plain_is_refused(workers: Workers) -> None:
    with pytest.raises(TypeError, match="set is no plain value"):
        workers.call(troublesome.echo, {1, 2})
    assert workers.call(troublesome.echo, 1) == 1


@pytest.mark.parametrize("kind", ["CongenerError", "ImageError", "EncoderError", "GalleryError", "GalleryBusyError"])
def test_errors_come_back_as_what_they_are(workers: Workers, kind: str) -> None:
    with pytest.raises(CongenerError) as caught:
        workers.call(troublesome.fail, kind, "too green")
    assert type(caught.value) is getattr(errors, kind)
    assert str(caught.value) == "too green"


def test_errors_of_python_come_back_too_with_where_they_arose(workers: Workers) -> None:
    with pytest.raises(KeyError) as caught:
        workers.call(troublesome.fail, "KeyError", "green")
    assert caught.value.args == ("green",)
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(OSError, match="No space") as full:
        workers.call(troublesome.fail, "OSError", errno.ENOSPC, "No space left")
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(EOFError):  # which isn't taken for the pipe's end
        workers.call(troublesome.fail, "EOFError")
    with pytest.raises(BrokenPipeError):
        workers.call(troublesome.fail, "BrokenPipeError")
    with pytest.raises(RuntimeError, match="OwnError: too green"):
        workers.call(troublesome.fail, "OwnError", "too green")
    with pytest.raises(ValueError, match="<object object"):  # its argument can't come
        workers.call(troublesome.fail, "ValueError", object())


def test_a_crash_is_an_error_and_the_next_call_gets_a_fresh_process(workers: Workers) -> None:
    pid = workers.call(troublesome.process_id)
    with pytest.raises(WorkerError, match=r"^the decoder crashed \(signal 11, Segmentation fault\)$"):
        workers.call(troublesome.segfault)
    assert issubclass(WorkerError, ImageError)
    assert workers.call(troublesome.process_id) != pid
    with pytest.raises(WorkerError, match=r"exit status 3\)$"):
        workers.call(troublesome.leave, 3)
    assert workers.call(troublesome.echo, "well") == "well"


def test_a_crash_in_a_used_process_is_tried_again_in_a_fresh_one(workers: Workers) -> None:
    pid = workers.call(troublesome.process_id)
    other = workers.call(troublesome.segfault_in, pid)
    assert other not in (pid, os.getpid())


def test_a_fresh_process_that_crashes_is_not_tried_again(workers: Workers, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    for _ in range(2):
        with pytest.raises(WorkerError):
            workers.call(troublesome.note_and_crash, str(starts))
    assert starts.read_text() == "11"


@pytest.mark.parametrize("how", [troublesome.hang, troublesome.spin, troublesome.stop])
def test_what_takes_too_long_is_ended(how: Callable[[], None]) -> None:
    with Workers(1, seconds=1.5) as workers:
        with pytest.raises(WorkerError, match=r"^took longer than 1\.5 s to decode$"):
            workers.call(how)
        assert workers.call(troublesome.echo, "well") == "well"


def test_starting_does_not_count_towards_the_time_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.workers._START", f"import time; time.sleep(1.5)\n{_START}")
    with Workers(1, seconds=1) as workers:
        assert workers.call(len, "abc") == 3  # which imports nothing


def test_a_process_ends_itself_where_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.workers.GRACE", -0.5)
    with Workers(1, seconds=1) as workers:
        monkeypatch.setattr(workers, "_end_overdue", lambda: None)
        with pytest.raises(WorkerError, match="took longer than 1 s"):
            workers.call(troublesome.spin)


def test_what_a_decoder_prints_goes_nowhere(workers: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    assert workers.call(troublesome.chatter) == ""
    assert workers.call(troublesome.echo, 1) == 1
    assert capfd.readouterr() == ("", "")


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (77,)


@pytest.mark.parametrize("answer", [pickle.dumps(Trap()), b"\x08" + b"\0" * 7 + pickle.dumps(Trap()), b"\xff" * 100])
def test_nothing_that_a_process_answers_is_run(workers: Workers, answer: bytes) -> None:
    with pytest.raises(WorkerError):
        workers.call(troublesome.forge, answer)
    assert workers.call(troublesome.echo, 1) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux only")
def test_memory_is_limited(workers: Workers) -> None:
    with pytest.raises(MemoryError):
        workers.call(troublesome.allocate, 8 << 30)
    assert workers.call(troublesome.allocate, 1 << 20) == 1 << 20


def test_a_function_may_ask(workers: Workers) -> None:
    assert workers.call(troublesome.conversation, 3, answer=lambda number: {"twice": 2 * number}) == [
        {"twice": 0}, {"twice": 2}, {"twice": 4},
    ]  # fmt: skip

    def refuse(number: int) -> None:
        raise LookupError(f"no answer to {number}")

    with pytest.raises(LookupError, match="no answer to 0"):
        workers.call(troublesome.conversation, 3, answer=refuse)
    assert workers.call(troublesome.echo, 1) == 1


def test_many_threads_share_few_processes() -> None:
    with Workers(2) as workers, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: workers.call(troublesome.echo, number), range(200))) == list(range(200))
        pids = set(pool.map(lambda _: workers.call(troublesome.process_id, 0.01), range(40)))
    assert len(pids) == 2


def test_a_paired_thread_has_a_process_of_its_own() -> None:
    with Workers(3) as workers, ThreadPoolExecutor(2, initializer=workers.pair) as pool:
        together = threading.Barrier(2)

        def processes(_: int) -> set[int]:
            together.wait(20)  # both threads take part
            return {workers.call(troublesome.process_id) for _ in range(20)}

        (one,), (other,) = pool.map(processes, range(2))
        assert one != other
        assert workers.call(troublesome.process_id) not in (one, other)  # the third is left for other threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system doesn't tell its cores")
def test_a_pair_is_kept_on_its_core_and_nothing_else_is() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with Workers(2, on=[core]) as workers, ThreadPoolExecutor(1, initializer=workers.pair) as pool:
        workers.start(2)
        first = pool.submit(workers.call, troublesome.process_id).result()
        assert pool.submit(os.sched_getaffinity, 0).result() == {core} == os.sched_getaffinity(first)
        with pytest.raises(WorkerError):
            pool.submit(workers.call, troublesome.leave, 1).result()
        second = pool.submit(workers.call, troublesome.process_id).result()
        assert second != first
        assert os.sched_getaffinity(second) == {core}  # the one that replaced it
        assert os.sched_getaffinity(workers.call(troublesome.process_id)) == before
    assert os.sched_getaffinity(0) == before


needs_trays = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system shares no memory without a name")


def yes(_: Any) -> bool:
    return True


@needs_trays
def test_what_a_pair_lays_is_there_until_it_clears() -> None:
    with Workers(2, tray=4 * 800) as workers, ThreadPoolExecutor(1, initializer=workers.pair) as pool:
        assert workers.has_trays

        def lay(count: int) -> Any:
            return pool.submit(workers.call, troublesome.layers, count, 0, answer=yes).result()

        first, second = lay(3), lay(1)
        assert first.shape == (3, 100)
        assert (first == [[0], [1], [2]]).all()
        assert (second == 0).all()
        beyond = lay(2)  # no room is left: it came through the pipe
        assert [(array == number).all() for number, array in enumerate(beyond)] == [True, True]
        assert (first == [[0], [1], [2]]).all()
        with pytest.raises(WorkerError):
            pool.submit(workers.call, troublesome.leave, 1).result()
        assert (first == [[0], [1], [2]]).all()
        pool.submit(workers.clear).result()
        assert (lay(4) == [[0], [1], [2], [3]]).all()
        assert np.shares_memory(lay(1), first) is False
        assert (first == [[0], [1], [2]]).all()
        pool.submit(workers.clear).result()
        lay(1)
        lay(2)
        assert (first == [[0], [0], [1]]).all()  # the same memory, used anew


@needs_trays
def test_what_lies_there_is_never_overwritten_for_others() -> None:
    with Workers(1, tray=2 * 800) as workers:
        first, second, third = (workers.call(troublesome.layers, 1, 0, answer=yes)[0] for _ in range(3))
        workers.clear()  # of no pair, no effect
        first[:], second[:] = 1, 2
        assert workers.call(troublesome.layers, 2, 0, answer=yes)[1].tolist() == [1] * 100
        assert (first == 1).all()
        assert (second == 2).all()
        assert (third == 0).all()


@pytest.mark.parametrize("tray", [0, 800])
def test_without_trays_all_comes_through_pipes(monkeypatch: pytest.MonkeyPatch, tray: int) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with Workers(1, tray=tray) as workers, ThreadPoolExecutor(1, initializer=workers.pair) as pool:
        assert not workers.has_trays
        laid = pool.submit(workers.call, troublesome.layers, 2, 0, answer=yes).result()
        assert [(array == number).all() for number, array in enumerate(laid)] == [True, True]
        pool.submit(workers.clear).result()


@needs_trays
def test_who_lays_goes_on_and_has_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.workers.GRACE", 3600)  # it doesn't end itself
    with Workers(1, seconds=3, tray=8000) as workers, ThreadPoolExecutor(1, initializer=workers.pair) as pool:

        def lay(count: int, seconds: float, last: float) -> Any:
            return pool.submit(workers.call, troublesome.layers, count, seconds, last, answer=yes).result()

        assert lay(4, 1, 0).shape == (4, 100)
        with pytest.raises(WorkerError, match=r"^took longer than 3 s to decode$"):
            lay(2, 0, 3600)
        assert lay(1, 0, 0).shape == (1, 100)


@needs_trays
def test_nobody_goes_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.workers.MOST", 3)
    with Workers(1, seconds=0.5, tray=800_000) as workers, ThreadPoolExecutor(1, initializer=workers.pair) as pool:
        for_a_day = pool.submit(workers.call, troublesome.layers, 10**6, 0.1, answer=yes)
        assert str(for_a_day.exception()) == "took longer than 0.5 s to decode"


@needs_proc
def test_no_more_start_than_are_needed() -> None:
    before = children()
    with Workers(4) as workers:
        assert children() == before
        for number in range(3):
            workers.call(troublesome.echo, number)
        assert len(children() - before) == 1
        workers.start(3)
        workers.start(2)
        assert len(children() - before) == 3
    assert children() == before


@needs_proc
def test_replaced_processes_leave_nothing_behind() -> None:
    before, threads = children(), threading.active_count()
    handles = len(os.listdir("/proc/self/fd"))

    def die(workers: Workers) -> None:
        with pytest.raises(WorkerError):
            workers.call(troublesome.leave, 1)

    with Workers(2) as workers, ThreadPoolExecutor(2) as pool:
        list(pool.map(die, [workers] * 50))
        assert not children() - before
    assert len(os.listdir("/proc/self/fd")) == handles
    assert children() == before
    assert threading.active_count() == threads


def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    workers, begun = Workers(1), tmp_path / "begun"
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(workers.call, troublesome.note_and_hang, str(begun)) for _ in range(3)]
        wait_until(begun.exists)  # one runs, two wait
        workers.close()
        assert all(isinstance(call.exception(), WorkerError) for call in calls)
    with pytest.raises(WorkerError, match="closed"):
        workers.call(troublesome.echo, 1)
    workers.close()


def test_what_cannot_be_imported_there_is_said() -> None:
    script = (
        "from congener.errors import CongenerError\n"
        "from congener.workers import Workers\n"
        "def decode(): pass\n"
        "with Workers(1) as workers:\n"
        "    for function in (decode, lambda: None):\n"
        "        try: workers.call(function)\n"
        "        except CongenerError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.count("must be defined in a module that can be imported") == 2


def test_a_python_that_cannot_start_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("/no/such/python", None, "/bin/false"):
        monkeypatch.setattr(sys, "executable", executable)
        with Workers(1) as workers, pytest.raises(CongenerError, match=f"can be started by {executable}") as caught:
            workers.call(troublesome.echo, 1)
        assert not isinstance(caught.value, ImageError)  # no picture is to blame


# starts two processes, of which one hangs, says which they are, and waits
ORPHANS = """
import threading, time
from congener.workers import Workers
from tests import troublesome
workers = Workers(2)
threading.Thread(target=workers.call, args=(troublesome.hang,), daemon=True).start()
while not any(w._process for w in workers._workers): time.sleep(0.01)
print(*sorted({workers.call(troublesome.process_id)} | {w._process.pid for w in workers._workers}), flush=True)
time.sleep(60)
"""


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(number: signal.Signals) -> None:
    script = "import congener.workers\ncongener.workers.GRACE = -28.0\n" + ORPHANS  # one that hangs: after 2 s
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
    )
    assert run.stdout is not None
    pids = [int(pid) for pid in run.stdout.readline().split()]
    run.stdout.close()
    assert len(pids) == 2
    run.send_signal(number)
    run.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


@needs_proc
def test_ctrl_c_is_for_the_one_that_started_them() -> None:
    script = (
        "import os, signal\n"
        "from congener.workers import Workers\n"
        "from tests import troublesome\n"
        "with Workers(1) as workers:\n"
        "    pid = workers.call(troublesome.process_id)\n"
        "    try:\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "        signal.pause()\n"
        "    except KeyboardInterrupt:\n"
        "        print(workers.call(troublesome.process_id) == pid)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, cwd=ROOT, text=True, check=False, start_new_session=True
    )
    assert (run.stdout, run.stderr, run.returncode) == ("True\n", "", 0)
