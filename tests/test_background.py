import signal
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprostore.background import BackgroundWriter

SECONDS = 30  # a wait that ends this late has failed


def writers():
    return [t for t in threading.enumerate() if t.name == "reprostore-writer" and t.is_alive()]


@pytest.fixture(autouse=True)
def _thread_ends():
    yield
    assert writers() == []


def test_jobs_run_in_their_order_in_one_other_thread():
    seen = []
    with BackgroundWriter() as writer:
        for number in range(100):
            writer.submit(lambda number=number: seen.append((number, threading.get_ident())))
    assert [number for number, _ in seen] == list(range(100))
    (thread,) = {thread for _, thread in seen}
    assert thread != threading.get_ident()


def test_a_job_runs_while_the_next_thing_is_computed():
    computed = threading.Event()
    with BackgroundWriter() as writer:
        # ends only if `submit` has returned before, and the thread runs beside this one
        writer.submit(lambda: computed.wait(SECONDS) or pytest.fail("nothing was computed"))
        computed.set()


def blocked_submit(writer, nbytes):
    """Submit in a thread; return it and the event that it sets when it comes back."""
    returned = threading.Event()

    def submit():
        writer.submit(lambda: None, nbytes)
        returned.set()

    thread = threading.Thread(target=submit)
    thread.start()
    return thread, returned


@pytest.mark.parametrize("nbytes", [5, 100], ids=["fits later", "larger than the bound"])
def test_submit_waits_while_the_queue_is_full(nbytes):
    gate = threading.Event()
    with BackgroundWriter(max_bytes=10) as writer:
        writer.submit(lambda: gate.wait(SECONDS), 6)
        writer.submit(lambda: None, 4)  # exactly full
        thread, returned = blocked_submit(writer, nbytes)
        assert not returned.wait(0.05)
        gate.set()
        assert returned.wait(SECONDS)
        thread.join()


@given(sizes=st.lists(st.integers(0, 30), max_size=40), bound=st.integers(0, 20))
def test_no_more_than_the_bound_or_one_job_is_held(sizes, bound):
    held, most, lock = 0, 0, threading.Lock()

    def change(nbytes):
        nonlocal held, most
        with lock:
            held += nbytes
            most = max(most, held)

    with BackgroundWriter(max_bytes=bound) as writer:
        for size in sizes:
            # counted from when `submit` has returned: what it waits with is the batch in work
            writer.submit(lambda size=size: change(-size), size)
            change(size)
    assert held == 0
    assert most <= max([bound, *sizes])


def test_a_finished_job_is_let_go_while_the_thread_waits():
    class Payload:
        def __call__(self):
            pass

    finished = threading.Event()
    with BackgroundWriter() as writer:
        payload = Payload()
        gone = weakref.ref(payload, lambda _: finished.set())
        writer.submit(payload, 1)
        del payload
        assert finished.wait(SECONDS)
        assert gone() is None


def fail():
    raise OSError("no space")


def test_an_error_surfaces_at_the_next_submit_and_later_jobs_do_not_run():
    seen, gate = [], threading.Event()

    def block():
        with BackgroundWriter() as writer:
            writer.submit(lambda: gate.wait(SECONDS) and fail())
            writer.submit(lambda: seen.append("waiting job"), 5)
            gate.set()
            while writers():
                writers()[0].join(SECONDS)
            writer.submit(lambda: seen.append("later job"))
            seen.append("went on")

    with pytest.raises(OSError, match="no space"):
        block()
    assert seen == []


def test_an_error_surfaces_where_submit_waits_for_room():
    gate = threading.Event()

    def block():
        with BackgroundWriter(max_bytes=1) as writer:
            writer.submit(lambda: gate.wait(SECONDS) and fail(), 1)
            threading.Timer(0.02, gate.set).start()
            writer.submit(lambda: None, 1)
            pytest.fail("submit came back")

    with pytest.raises(OSError, match="no space"):
        block()


def test_an_error_surfaces_at_the_end_of_the_block():
    ended = []

    def block():
        with BackgroundWriter() as writer:
            writer.submit(fail)
            ended.append(True)

    with pytest.raises(OSError, match="no space"):
        block()
    assert ended


def test_a_failed_block_drops_what_waits_and_its_own_error_is_told():
    seen, begun = [], threading.Event()

    def block():
        with BackgroundWriter() as writer:

            def first():
                begun.set()
                while not writer._closing:
                    time.sleep(0.001)
                seen.append("first")

            writer.submit(first)
            writer.submit(lambda: seen.append("second"))
            assert begun.wait(SECONDS)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        block()
    assert seen == ["first"]  # the running job is finished


def test_an_error_of_the_block_comes_before_that_of_a_job():
    def block():
        with BackgroundWriter() as writer:
            writer.submit(fail)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        block()


def test_an_interrupted_end_waits_for_the_running_job():
    seen, interrupted = [], threading.Event()

    def handler(number, frame):
        interrupted.set()
        raise KeyboardInterrupt

    def running():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert interrupted.wait(SECONDS)
        seen.append("finished")

    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt), BackgroundWriter() as writer:
            writer.submit(running)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["finished"]
    assert writers() == []
