"""Ctrl-C that waits until it is asked for."""

import os
import signal
import threading

import pytest

from reprostore.interrupts import deferred


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def run(*actions):
    """Take actions while Ctrl-C is deferred, "check" asking for it; return the taken ones."""
    taken = []

    def work():
        with deferred() as check:
            for action in actions:
                {"check": check, "ctrl-c": ctrl_c, "step": lambda: None}[action]()
                taken.append(action)

    with pytest.raises(KeyboardInterrupt):
        work()
    return taken


def test_it_is_raised_where_it_is_asked_for():
    assert run("check", "ctrl-c", "step", "check", "step") == ["check", "ctrl-c", "step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_is_raised_at_the_end_where_nobody_asks():
    assert run("ctrl-c", "step") == ["ctrl-c", "step"]


def test_a_second_one_does_not_wait():
    assert run("ctrl-c", "step", "ctrl-c", "step") == ["ctrl-c", "step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_goes_first():
    def fail():
        with deferred():
            ctrl_c()
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_and_ignored_signals_change_nothing():
    def work():
        with deferred() as check:
            check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred() as check:
            ctrl_c()
            check()
    finally:
        signal.signal(signal.SIGINT, before)
