"""The model card: valid front matter, names as they are, intervals, and never at the cost of the model."""

import yaml
from scipy import stats

from vae.config import Config
from vae.model_card import CARD_FILE, ModelCard, Score, escape, write_card


def card(**changes):
    values = {"name": "0001-fc-3d", "image_shape": (1, 8, 8), "dataset": "digits", "fingerprint": "12ab"}
    return ModelCard(config=Config(), chosen=["By hand."], **values | changes)


def test_the_front_matter_is_yaml_with_the_keys_that_hugging_face_reads():
    text = card(scores=[Score(metric="KNN accuracy", images="test", value=0.5)]).text
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "vae-search"
    assert front["metrics"] == ["accuracy"]
    assert "vae" in front["tags"]


def test_a_share_has_wilsons_interval():
    text = card(scores=[Score(metric="KNN accuracy", images="test", value=0.75, n_images=80)]).text
    expected = stats.binomtest(60, 80).proportion_ci(method="wilson")
    assert f"| 0.75 | {expected.low:.4f} to {expected.high:.4f} (80 images) |" in text


def test_names_are_shown_as_they_are():
    text = card(name="a_b|c", dataset="[my](photos)\n# own").text
    assert "# a\\_b\\|c\n" in text
    assert "\\[my\\](photos) \\# own: 8×8 pixels" in text
    assert escape("0001-fc-3d") == "0001-fc-3d"


def test_data_model_and_hyperparameters_are_named():
    text = card(resize=8, n_parameters=1234, image_shape=(3, 8, 8)).text
    assert "`12ab`" in text
    assert "1,234 parameters" in text
    assert "colour, resized to 8 pixels" in text
    assert "| latent_dim | 10 |" in text
    assert "By hand." in text


def test_a_card_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    write_card(tmp_path / "file", card())
    assert "no model card" in caplog.text
    write_card(tmp_path, card())
    assert (tmp_path / CARD_FILE).read_text() == card().text
