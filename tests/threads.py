"""How many threads torch has in tests."""

from contextlib import contextmanager

import torch


@contextmanager
def one_thread():
    """Small tensors are faster on one thread, and other work shares the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
