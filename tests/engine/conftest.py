import signal

import pytest

from tests.threads import one_thread


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(autouse=True, scope="package")
def _interruptible():
    """In the background of a shell interrupts are ignored, here and in processes started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
