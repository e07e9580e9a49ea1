import pytest

from albu_learned.comparison import cells
from tests.threads import one_thread


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def forget():
    """Nothing is kept from one test to the next."""
    cells.forget()
    yield
    cells.forget()
