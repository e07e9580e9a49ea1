import pytest

from albu_learned.comparison import cells


@pytest.fixture
def forget():
    """Nothing is kept from one test to the next."""
    cells.forget()
    yield
    cells.forget()
