import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny models: threads that wait for each other cost far more than they bring."""
    torch.set_num_threads(1)
