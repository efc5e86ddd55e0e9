"""Space files: the default one, and every mistake in one line."""

import optuna
import pytest
import yaml

from tune.space.file import DEFAULT_SPACE, default_space, load_space, parse_space, without_start
from vae.command_line import exit_code
from vae.config import Config
from vae.errors import StorageError, UsageError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def load(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_space(path)


def test_the_default_space_starts_with_a_few_points_far_from_one_another():
    start = load_space().start
    assert 0 < len(start) <= 3
    for name in ("architecture", "latent_dim"):
        assert len({point[name] for point in start}) == len(start)


def test_without_its_starting_points_a_space_is_the_same_otherwise():
    space = without_start(load_space())
    assert (space.start, "start" in space.source) == ((), False)
    assert space.entries == load_space().entries
    assert parse_space(space.source) == space


def test_whatever_the_default_space_draws_can_be_configured():
    space = load_space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(200):
        Config.from_params(space.sample(study.ask()))


def test_the_default_space_fits_the_smallest_images():
    load_space(DEFAULT_SPACE).check_fit((1, 8, 8), 1000)


def test_numbers_may_be_written_in_scientific_notation(tmp_path):
    assert load(tmp_path, "learning_rate: {float: [1e-4, 1E-2], log: true}").sample(
        optuna.trial.FixedTrial({"learning_rate": 1e-3})
    ) == {"learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("latent_dims: {int: [2, 4]}", "unknown hyperparameter 'latent_dims', did you mean 'latent_dim'"),
        ("latent_dim: {int: [8, 2]}", "latent_dim: the range [8, 2] is empty, low must be < high"),
        ("latent_dim: {int: [8, 8]}", "for a constant write `latent_dim: 8`"),
        (
            "latent_dim: {int: [2, 4.5]}",
            "latent_dim: int must be two whole numbers [low, high], got [2, 4.5]",
        ),
        ("latent_dim: {int: [2]}", "int must be two whole numbers"),
        ("latent_dim: {int: [0, 4]}", "latent_dim must be >= 1, got 0"),
        ("kl_weight: {float: [0, 1], log: true}", "kl_weight: a log range must start above 0, got 0"),
        ("kl_weight: {float: [0.1, .inf]}", "float must be two numbers"),
        ("kl_weight: {float: [0.1, 1], log: yes please}", "log must be true or false, got 'yes please'"),
        ("kl_weight: {float: [0.1, 1], step: 0.1, log: true}", "log and step do not go together"),
        ("kl_weight: {float: [0.1, 1], steps: 0.1}", "got 'steps'"),
        ("kl_weight: {uniform: [0.1, 1]}", "kl_weight: needs one of choice, int, float, value"),
        ("kl_weight: {choice: []}", "choice must be a list with at least one value"),
        ("kl_weight: {choice: [1, 1]}", "choice must not repeat a value"),
        (
            "architecture: {choice: [fc, cnn]}",
            "architecture must be one of fc, fc_conv, conv, conv1xn, unet, resnet, got 'cnn'",
        ),
        ("reconstruction_loss: sim", "did you mean 'ssim'"),
        ("architecture: {float: [0.1, 1]}", "architecture must be a name, got 0.1"),
        ("max_epochs: 5", "max_epochs is not part of the space, it is set by --budget or --max-epochs"),
        ("seed: 5", "set by --seed"),
        ("ssim_window: {choice: [7], when: {reconstruction_loss: ssim}}", "must stand above it"),
        (
            "ssim_window: {choice: [7], when: {reconstruction_los: ssim}}",
            "did you mean 'reconstruction_loss'",
        ),
        (
            "reconstruction_loss: bce\nssim_window: {choice: [7], when: {reconstruction_loss: ssim}}",
            "reconstruction_loss: ssim, which is never drawn",
        ),
        (
            "latent_dim: {int: [2, 8]}\nstart: [{latent_dim: 9}]",
            "start 1: latent_dim must be between 2 and 8, got 9",
        ),
        (
            "latent_dim: {int: [2, 8]}\nstart: [{latent_dim: 2}, {width: 1}]",
            "start 2: width is not searched there",
        ),
        ("latent_dim: {int: [2, 8]}\nstart: {latent_dim: 2}", "start must be a list of mappings"),
        ("latent_dim: 2\nlatent_dim: 4", "line 2: not valid YAML: 'latent_dim' stands twice"),
        ("latent_dim: {int: [2, 8]", "not valid YAML"),
        ("? [latent_dim]\n: 2", "not valid YAML"),
        ("ssim_window: {int: [3, 11]}", "ssim_window must be odd, got 4"),
        ("- latent_dim", "a space is a mapping"),
        ("", "a space is a mapping"),
    ],
)
def test_a_wrong_space_is_refused_in_one_line_with_file_and_entry(tmp_path, text, complaint):
    with pytest.raises(UsageError) as error:
        load(tmp_path, text)
    assert complaint in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "space.yaml"))
    assert "\n" not in str(error.value)
    assert exit_code(error.value) == 2


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe")]
)
def test_a_space_file_that_cannot_be_read_is_an_input_error(tmp_path, make):
    path = tmp_path / "space.yaml"
    make(path)
    with pytest.raises(StorageError, match="cannot read the space file"):
        load_space(path)


def test_the_space_that_is_kept_on_record_is_the_one_that_was_read(tmp_path):
    space = load_space()
    copy = tmp_path / "space.yaml"
    copy.write_text(yaml.safe_dump(space.source))
    assert load_space(copy) == space


@pytest.mark.parametrize("n_train", [7, 40, 200, 511, 512])
def test_the_default_space_fits_any_number_of_images(n_train):
    default_space(n_train).check_fit((3, 32, 32), n_train)
    if n_train >= 512:
        assert default_space(n_train).source == load_space().source
