import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from evaluation.pipeline.cost import estimate_seconds, measure_slowdown, scoring_seconds
from evaluation.scores.protocols import Round, score_round
from evaluation.scores.settings import KnnGrid

FMNIST = {"n_train": 60_000, "n_test": 10_000, "n_pixels": 784, "n_finalists": 3, "latent_dim": 32}
DIGITS = {"n_train": 1_437, "n_test": 360, "n_pixels": 64, "n_finalists": 3, "latent_dim": 32}


def estimate(study, *, n_slots=2, **changes):
    return estimate_seconds(**study | {"slowdown": 1.0} | changes, n_slots=n_slots)


@pytest.mark.parametrize(("study", "measured"), [(FMNIST, 347), (DIGITS | {"n_finalists": 0}, 18)])
def test_it_bounds_the_core_seconds_that_were_measured_and_not_by_far(study, measured):
    start_and_finish = 15
    assert measured < estimate(study, n_slots=1) < 1.8 * (measured + start_and_finish)


@pytest.mark.parametrize(
    "changes",
    [{"n_seeds": 3}, {"n_finalists": 5}, {"n_train": 80_000}, {"latent_dim": 64}, {"dims": (2, 10, 32)}],
)
def test_more_work_takes_longer(changes):
    assert estimate(FMNIST, **changes) > estimate(FMNIST)


def test_the_ensemble_is_counted_where_there_is_one():
    # A second finalist brings a VAE, its PCA and the ensemble of both, a third one no new ensemble.
    second, third = (estimate(FMNIST, n_finalists=n) - estimate(FMNIST, n_finalists=n - 1) for n in (2, 3))
    assert second > 1.3 * third


def test_each_fresh_seed_counts_like_a_finalist():
    more, most = (estimate(FMNIST, n_seeds=n) - estimate(FMNIST) for n in (1, 2))
    assert most == pytest.approx(2 * more)


def test_more_slots_help_until_only_umap_is_left():
    times = [estimate(FMNIST, n_slots=n) for n in (1, 2, 8, 1000)]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 100


def test_without_labels_nothing_is_scored():
    assert estimate(FMNIST, labelled=False) < 0.8 * estimate(FMNIST)  # UMAP has to find its graph alone


def test_a_slower_machine_takes_as_much_longer():
    assert estimate(FMNIST, slowdown=2.0) == pytest.approx(2 * estimate(FMNIST))


def test_the_probe_foresees_what_scoring_takes():
    slowdown = measure_slowdown()
    generator = np.random.default_rng(0)
    train, test = (generator.normal(size=(n, 300)).astype("f4") for n in (20_000, 1000))
    with threadpool_limits(1):
        started = time.thread_time()
        score_round(Round("test"), train, np.arange(20_000) % 10, test, np.arange(1000) % 10, KnnGrid())
        seconds = time.thread_time() - started
    assert seconds / 3 < slowdown * scoring_seconds(1000, 20_000, 300) < 3 * seconds
