"""What holds for all tests: reproducible examples, no network, and a cache of their own."""

import os
import signal

# before torch and huggingface_hub are imported, which read these once
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
from hypothesis import HealthCheck, settings

# a shell that runs the tests in the background has had it ignored, for all children too
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep digests of files that other tests or users have cached out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPROSTORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
