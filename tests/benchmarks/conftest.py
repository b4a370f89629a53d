"""Print what the benchmarks found, ratios first."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """Show `extra_info` of every benchmark."""
    session = getattr(config, "_benchmarksession", None)
    rows = [] if session is None else session.benchmarks
    if not rows:
        return
    terminalreporter.section("ratios (ours / other) and other figures")
    for row in rows:
        figures = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.extra_info.items()
        )
        terminalreporter.write_line(f"{row.name}: {figures}")
