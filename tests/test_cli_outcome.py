"""How commands end: codes, interruption, broken pipes, progress, and what `--help` costs."""

import errno
import os
import pty
import signal
import subprocess
import sys
import time
import warnings

import pytest
import typer
from commands import Repro, environment, subpython, write_study

from reprostore.errors import SpecError
from reprostore.store import open_store
from reprostore_cli.failures import guarded


def outcome(capsys, error):
    @guarded
    def command():
        warnings.warn("of a library", UserWarning, stacklevel=1)
        if error is not None:
            raise error

    code = 0
    try:
        command()
    except typer.Exit as end:
        code = end.exit_code
    return code, capsys.readouterr().err


def test_nothing_is_said_of_success_and_of_warnings(capsys):
    assert outcome(capsys, None) == (0, "")


def test_a_mistake_is_one_paragraph(capsys):
    code, said = outcome(capsys, SpecError("Found\nthis.", "Expected that.", "Do so."))
    assert (code, said) == (2, "Error: Found this. Expected that. Do so.\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_refusals_of_the_operating_system_are_no_bugs(capsys, number):
    code, said = outcome(capsys, OSError(number, os.strerror(number), "/data/s.zarr"))
    assert code == 2
    assert said.startswith(f"Error: /data/s.zarr cannot be written or read: {os.strerror(number)}.")
    assert said.count("\n") == 1


def test_used_up_memory_is_no_bug(capsys):
    class OutOfMemoryError(RuntimeError):
        """Named as that of torch."""

    for error in (MemoryError("8 GiB"), OutOfMemoryError("8 GiB")):
        code, said = outcome(capsys, error)
        assert code == 2
        assert "The memory is used up (8 GiB)." in said
        assert "smaller batch size" in said


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError(errno.EIO, "broken")])
def test_a_bug_shows_its_traceback_and_asks_to_report_it(capsys, error):
    code, said = outcome(capsys, error)
    assert code == 1
    assert "Traceback (most recent call last)" in said
    assert "This is a bug in reprostore. Please report it" in said


def test_an_interruption_has_its_code(capsys):
    code, said = outcome(capsys, KeyboardInterrupt())
    assert code == 130
    assert said.startswith("Error: ") is False
    assert "run the same command again" in said


def _started(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "reprostore_cli", *map(str, arguments)],
        env=environment(),
        **options,
    )


def test_ctrl_c_ends_generating_and_what_was_written_is_kept(tmp_path, capsys):
    path = write_study(tmp_path)
    process = _started("generate", path, "--seeds", "0-99999", stderr=subprocess.PIPE, text=True)
    status = tmp_path / "digits.zarr" / "runs" / "a" / "ddim2" / "none" / "status" / "c" / "0"
    deadline = time.monotonic() + 120
    while not status.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "Interrupted. What was finished is kept: run the same command again to go on.\n"
    run = open_store(tmp_path / "digits.zarr").run("a/ddim2/none")
    assert 0 < len(run.written()[0]) < 100000


def test_a_reader_that_goes_away_is_no_error(tmp_path, capsys):
    path = write_study(tmp_path)
    Repro(capsys)("generate", path)
    reading, writing = os.pipe()
    os.close(reading)
    process = _started("status", path, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_progress_is_shown_on_a_terminal(tmp_path):
    path = write_study(tmp_path)
    main, terminal = pty.openpty()
    process = _started(
        "generate", path, "--seeds", "0-63", "--json", stdout=subprocess.PIPE, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(main, 65536):
            shown += block
    except OSError:  # the other end is closed
        pass
    out, _ = process.communicate(timeout=60)
    os.close(main)
    assert process.returncode == 0
    assert out.startswith(b"{")
    text = shown.decode()
    for run in ("a/ddim2/none", "b/ddim2/none"):
        assert run in text
    assert "64/64" in text
    assert "samples/s" in text


def test_help_imports_nothing_but_typer_and_rich():
    done = subpython("-X", "importtime", "-m", "reprostore_cli", "--help")
    assert done.code == 0
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.err.splitlines()}
    assert {"typer", "reprostore_cli"} <= imported
    assert not imported & {"reprostore", "reprostore_analyses", "numpy", "xarray", "zarr", "dask",
                           "pydantic", "torch", "diffusers", "matplotlib"}  # fmt: skip
