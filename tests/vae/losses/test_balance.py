import pytest
import torch

from vae.losses.balance import DECAY, Balance


def test_the_factor_is_the_ratio_of_the_running_means():
    balance = Balance()
    assert balance.update(torch.tensor(200.0), torch.tensor(40.0), 10).item() == pytest.approx(5)
    means = DECAY * 200 + (1 - DECAY) * 100, DECAY * 40 + (1 - DECAY) * 20
    assert balance.update(torch.tensor(100.0), torch.tensor(20.0), 10).item() == pytest.approx(
        means[0] / means[1]
    )


def test_a_vanishing_divergence_does_not_run_away():
    balance = Balance()
    for _ in range(3):
        factor = balance.update(torch.tensor(200.0), torch.tensor(1e-9), 10)
    assert factor.item() == pytest.approx(20)
