import math
import time

import pytest
import torch

from vae.config import ARCHITECTURES, OPTIMIZERS, Config
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.errors import StorageError, UsageError
from vae.training.loop import train

SMALL = {"batch_size": 128, "latent_dim": 4, "width": 0.1, "max_epochs": 4, "ssim_window": 5, "seed": 3}


@pytest.fixture(scope="module")
def digits():
    return split_validation(load_dataset("digits").train, seed=0)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "schedule", [{"schedule": "one_cycle"}, {"schedule": "milestones", "milestones": [1, 3]}]
)
def test_a_resumed_run_ends_with_the_same_bits_as_one_that_never_stopped(
    digits, tmp_path, optimizer, schedule
):
    params = SMALL | schedule | {"optimizer": optimizer, "learning_rate": 1e-4, "kl_warmup_epochs": 3}
    config = Config.from_params(params)
    whole = train(config, digits.train, digits.validation)

    def stop_after_two(end):
        end.state.save(tmp_path)
        return end.epoch == 2

    first = train(config, digits.train, digits.validation, on_report=stop_after_two)
    assert first.stop_reason == "callback"
    torch.rand(5)  # the state of the global generator must not matter
    second = train(config, digits.train, digits.validation, resume_from=tmp_path)
    assert len(second.history) == 2
    assert torch.equal(weights(second.model), weights(whole.model))
    assert [m["val_loss"] for m in first.history + second.history] == [m["val_loss"] for m in whole.history]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", ["bce", "mse", "ssim"])
def test_every_architecture_learns_with_every_loss(digits, architecture, loss):
    config = Config.from_params(
        SMALL
        | {"architecture": architecture, "reconstruction_loss": loss, "learning_rate": 1e-2, "width": 1.0}
        | {"max_epochs": 10, "kl_weight": 0.1, "latent_dim": 8, "batch_size": 64}
    )
    history = train(config, digits.train, digits.validation).history
    mean_image_mse = digits.validation.images.div(255).var(0).mean().item()
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert history[-1]["val_mse"] < 0.75 * mean_image_mse
    assert history[-1]["active_units"] >= 2


OPTIONS = [
    {"balance_losses": True},
    {"balance_losses": True, "reconstruction_loss": "mse"},
    {"reconstruction_loss": "mse", "learned_variance": True},
    {"free_bits": 0.5},
    {"conditional": True},
    {"spherical": True},
    {"augment": "flip,shift,rotate,noise"},
    {"moves": "flip,shift,scale,rotate,brightness", "consistency_weight": 0.3},
]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: "+".join(option))
def test_every_option_learns_and_resumes_exactly(digits, tmp_path, option):
    params = SMALL | {"batch_size": 32, "learning_rate": 1e-2, "kl_weight": 0.1, "max_epochs": 5} | option
    config = Config.from_params(params)
    whole = train(config, digits.train, digits.validation)
    mean_image_mse = digits.validation.images.div(255).var(0).mean().item()
    assert whole.history[-1]["val_mse"] < 0.95 * mean_image_mse
    assert whole.history[-1]["active_units"] >= 1

    def stop_after_two(end):
        end.state.save(tmp_path)
        return end.epoch == 2

    train(config, digits.train, digits.validation, on_report=stop_after_two)
    assert torch.equal(
        weights(train(config, digits.train, digits.validation, resume_from=tmp_path).model),
        weights(whole.model),
    )


def test_a_learned_variance_is_learned(digits):
    config = Config.from_params(
        SMALL
        | {"reconstruction_loss": "mse", "learned_variance": True, "learning_rate": 1e-2}
        | {"batch_size": 16, "max_epochs": 10}
    )
    model = train(config, digits.train, digits.validation).model
    assert model.pixel_log_variance is not None
    variances = model.pixel_log_variance.exp()
    corner = digits.train.images[:, 0, 0, 0]
    assert corner.float().var() < 1  # always black: there is hardly any noise
    assert variances[0, 0, 0] < 0.5 * variances.mean()


def test_a_conditional_vae_without_labels_is_refused(digits):
    unlabelled = ImageSet(digits.train.images, None)
    with pytest.raises(UsageError, match="^conditional needs labels, the images have none"):
        train(Config.from_params(SMALL | {"conditional": True}), unlabelled, unlabelled)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(digits):
    runs = [
        train(
            Config.from_params(SMALL | {"max_epochs": 1, "seed": seed}), digits.train, digits.validation
        ).model
        for seed in (1, 1, 2)
    ]
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def test_every_image_is_used_once_an_epoch(digits, monkeypatch):
    seen = []
    monkeypatch.setattr("vae.training.step.to_unit", lambda batch: seen.append(batch) or batch.float() / 255)
    config = Config.from_params(SMALL | {"max_epochs": 1})
    train(config, digits.train, digits.validation)
    used = torch.cat(seen).flatten(1)
    assert sorted(map(tuple, used.tolist())) == sorted(map(tuple, digits.train.images.flatten(1).tolist()))


def test_a_diverged_run_says_nan_and_stops(digits):
    config = Config.from_params(SMALL | {"learning_rate": 1e30, "optimizer": "sgd"})
    ends = []
    result = train(config, digits.train, digits.validation, on_report=ends.append)
    assert result.stop_reason == "nan"
    assert len(ends) == len(result.history) < config.training.max_epochs
    assert not math.isfinite(result.history[-1]["train_loss"])


def test_mixed_precision_ends_near_full_precision(digits):
    results = [
        train(
            Config.from_params(
                SMALL | {"precision": precision, "width": 0.5, "max_epochs": 6, "learning_rate": 5e-3}
            ),
            digits.train,
            digits.validation,
        )
        for precision in ("float32", "bfloat16")
    ]
    losses = [result.history[-1]["val_loss"] for result in results]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]
    assert all(p.dtype == torch.float32 for p in results[1].model.parameters())


def test_a_state_of_another_config_is_refused(digits, tmp_path):
    def save(end):
        end.state.save(tmp_path)

    train(Config.from_params(SMALL | {"max_epochs": 1}), digits.train, digits.validation, on_report=save)
    longer = Config.from_params(SMALL | {"max_epochs": 2})
    assert len(train(longer, digits.train, digits.validation, resume_from=tmp_path).history) == 1
    other = Config.from_params(SMALL | {"latent_dim": 5})
    with pytest.raises(StorageError, match="was trained with latent_dim 4, got 5; they must agree"):
        train(other, digits.train, digits.validation, resume_from=tmp_path)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 5000}, "batch_size must be <= "),
        ({"reconstruction_loss": "ssim", "ssim_window": 9}, "ssim_window must be <= 8"),
    ],
)
def test_a_config_that_does_not_fit_the_images_is_refused(digits, params, message):
    with pytest.raises(UsageError, match=message):
        train(Config.from_params(SMALL | params), digits.train, digits.validation)


def test_images_without_labels_train_as_well(digits):
    unlabelled = [ImageSet(part.images, None) for part in (digits.train, digits.validation)]
    assert len(train(Config.from_params(SMALL), *unlabelled).history) == SMALL["max_epochs"]


def test_the_knn_accuracy_is_measured_after_each_epoch_and_its_time_counted(digits):
    config = Config.from_params(SMALL | {"max_epochs": 2})

    def knn(model, **options):
        assert not model.training
        time.sleep(0.2)
        return 0.25

    history = train(config, digits.train, digits.validation, knn=knn).history
    assert [metrics["val_knn_accuracy"] for metrics in history] == [0.25, 0.25]
    assert all(metrics["epoch_seconds"] >= 0.2 for metrics in history)


def test_a_diverged_model_has_no_knn_accuracy(digits):
    config = Config.from_params(SMALL | {"learning_rate": 1e30, "optimizer": "sgd"})
    result = train(
        config, digits.train, digits.validation, knn=lambda model, **options: pytest.fail("measured")
    )
    assert math.isnan(result.history[-1]["val_knn_accuracy"])


@pytest.mark.parametrize(
    "params",
    [
        {"architecture": "fc", "conditional": True, "augment": "noise,shift", "warmup_steps": 5}
        | {"moves": "flip,scale", "consistency_weight": 0.3},
        {"architecture": "conv", "optimizer": "sgd", "schedule": "one_cycle", "kl_warmup_epochs": 1.0},
    ],
)
def test_a_training_resumes_from_every_report_within_an_epoch_bit_for_bit(digits, tmp_path, params):
    n = len(digits.train)
    config = Config.from_params(SMALL | params | {"max_epochs": 1.5, "batch_size": 100})
    reports = (250, 600, n, n + 333)
    undisturbed = train(config, digits.train, digits.validation)
    seen = []

    def save(report):
        seen.append(report.images)
        report.state.save(tmp_path / str(report.images))

    whole = train(config, digits.train, digits.validation, report_at=reports, on_report=save)
    assert seen == [*reports, round(1.5 * n)]
    assert torch.equal(weights(whole.model), weights(undisturbed.model))  # where it reports changes nothing
    for at in reports:
        resumed = train(
            config, digits.train, digits.validation, report_at=reports, resume_from=tmp_path / str(at)
        )
        assert torch.equal(weights(resumed.model), weights(whole.model))
        assert len(resumed.history) == len(whole.history) - reports.index(at) - 1


def test_of_reports_that_one_step_reaches_the_last_comes(digits):
    config = Config.from_params(SMALL | {"max_epochs": 1, "batch_size": 500})
    n, seen = len(digits.train), []
    train(
        config,
        digits.train,
        None,
        report_at=(100, 400, 700, n - 10),
        on_report=lambda report: seen.append((report.images, report.metrics["train_loss"] > 0)),
    )
    assert seen == [(400, True), (700, True), (n, True)]


def test_a_part_of_an_epoch_is_a_training_too(digits):
    config = Config.from_params(SMALL | {"max_epochs": 2.5, "batch_size": 100})
    seen = []
    train(config, digits.train, None, on_report=lambda report: seen.append(report.epoch))
    assert seen == [1, 2, 2.5]
    assert all(isinstance(epoch, int) for epoch in seen[:2])
