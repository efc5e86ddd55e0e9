from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from evaluation.analysis.results import Results
from evaluation.embedders import Embedding, EmbeddingKey
from evaluation.figures import FIGURES, write_figures
from evaluation.figures.accuracy import draw_accuracy
from evaluation.figures.confusion import draw_confusion
from evaluation.figures.dimensions import draw_dimensions, draw_ring
from evaluation.figures.finalist_models import best_vae
from evaluation.figures.interpolations import draw_interpolations
from evaluation.figures.latent_spaces import draw_latent_spaces, panel
from evaluation.figures.pareto import draw_pareto, label_points
from evaluation.figures.reconstructions import draw_reconstructions, examples
from evaluation.figures.style import FAINT, class_colours, house_style, label_line_ends
from evaluation.figures.write import save_figure
from tests.evaluation.conftest import BEST, SECOND, add_objective
from tests.evaluation.searches import write_search
from vae.data import Dataset, ImageSet, load_dataset


@pytest.fixture(scope="module")
def results(evaluated_once):
    return Results.read(evaluated_once)


# With one objective, five trials, and a scheduler that is not on record.
NOT_DRAWN = {"pareto", "importance", "rung_ladder"}


def names(run, kind="png"):
    return {path.stem for path in run.figures_dir.glob(f"*.{kind}")}


def test_every_figure_is_drawn_and_none_is_blank(evaluated_once):
    assert names(evaluated_once) == names(evaluated_once, "svg") == set(FIGURES) - NOT_DRAWN
    for path in evaluated_once.figures_dir.glob("*.png"):
        assert imread(path)[..., :3].std() > 0.02


def test_every_svg_is_small_and_needs_neither_fonts_nor_other_files(evaluated_once):
    for path in evaluated_once.figures_dir.glob("*.svg"):
        picture = ElementTree.parse(path)
        tags = [element.tag.rpartition("}")[2] for element in picture.iter()]
        assert "text" not in tags
        assert "path" in tags
        links = [value for e in picture.iter() for name, value in e.items() if name.endswith("href")]
        assert all(link.startswith(("#", "data:image/png")) for link in links)
        assert path.stat().st_size < 1_000_000


def test_the_dots_of_ten_thousand_images_are_pixels_inside_the_svg(tmp_path):
    points = np.random.default_rng(0).normal(size=(10_000, 2)).astype("f4")
    view = panel("title", Embedding(EmbeddingKey("pca", 2), points, points))
    with house_style():
        save_figure(draw_latent_spaces([view] * 3, None, ()), tmp_path, "latent_spaces")
    svg = (tmp_path / "latent_spaces.svg").read_text()
    assert svg.count("data:image/png") == 3
    assert len(svg) < 1_000_000


def test_the_same_figure_is_the_same_file(study):
    write_figures(study, Results.read(study))
    first = {path.name: path.read_bytes() for path in study.figures_dir.iterdir()}
    write_figures(study, Results.read(study))
    assert {path.name: path.read_bytes() for path in study.figures_dir.iterdir()} == first


def test_a_search_alone_has_its_own_figures(study):
    write_figures(study, Results.read(study))
    assert names(study) == names(study, "svg") == {"learning_curves", "parallel_coordinates"}


def test_a_long_search_has_all_of_them(tmp_path):
    run = write_search(tmp_path / "run")
    write_figures(run, Results.read(run))
    assert names(run) == {"parallel_coordinates", "importance", "learning_curves", "rung_ladder"}


def test_a_figure_that_fails_is_logged_and_the_others_are_drawn(evaluated, caplog):
    for path in evaluated.figures_dir.iterdir():
        path.unlink()
    results = Results.read(evaluated)
    (evaluated.checkpoint_dir("0001-conv-10d") / "model.safetensors").write_bytes(b"junk")
    write_figures(evaluated, results, load_dataset("digits"))
    without_models = {
        *("latent_spaces", "accuracy", "dimensions", "confusion"),
        *("learning_curves", "parallel_coordinates"),
    }
    assert names(evaluated) == names(evaluated, "svg") == without_models
    for name in set(FIGURES) - without_models - NOT_DRAWN:
        assert f"the figure {name} is missing" in caplog.text


NAMES = (
    "US$ 5 and A$ 6", r"a$\foo$b", "_private_", "a\\b^{2}", "two\nlines\tand a tab", "x" * 300, "50 %", "{}",
)  # fmt: skip


def test_names_that_somebody_has_chosen_are_drawn_as_they_are(evaluated_once, digits, tmp_path):
    names = (*NAMES, "8", "9")
    named = Dataset("digits", digits.train, digits.test, names, digits.fingerprint)
    results = Results.read(evaluated_once)
    points = np.random.default_rng(0).normal(size=(359, 2)).astype("f4")
    view = panel(NAMES[1], Embedding(EmbeddingKey("pca", 2), points, points))
    with house_style():
        figures = {
            "confusion": draw_confusion(results, names),
            "latent_spaces": draw_latent_spaces([view], digits.test.labels.numpy(), names),
            "interpolations": draw_interpolations(named, best_vae(evaluated_once, results, named)),
            "reconstructions": draw_reconstructions(named, {}),
        }
        for name, figure in figures.items():
            save_figure(figure, tmp_path, name)
    for figure in figures.values():
        drawn = {text.get_text() for text in figure.findobj(Text)}
        assert all(len(line) <= 100 and "\t" not in line for line in drawn)
        assert {"US$ 5 and A$ 6", "_private_"} & drawn
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
    legend = [text.get_text() for text in figures["latent_spaces"].legends[0].get_texts()]
    assert legend[:5] == ["US$ 5 and A$ 6", r"a$\foo$b", "_private_", "a\\b^{2}", "two lines and a tab"]
    figure = figures["latent_spaces"]
    box, frame = figure.legends[0].get_window_extent(), figure.bbox
    assert frame.x0 <= box.x0
    assert box.x1 <= frame.x1
    assert figures["reconstructions"].axes[0].get_ylabel() == "original"
    assert figures["latent_spaces"].axes[0].get_title(loc="left") == NAMES[1]


def test_one_image_of_each_class_is_shown(digits):
    rows = examples(digits.test)
    assert digits.test.labels[rows].tolist() == list(range(10))


def test_without_labels_the_first_ten_images_are_shown(unlabelled):
    assert examples(unlabelled.test) == list(range(10))


def test_few_classes_show_several_images_each():
    labels = torch.tensor([2, 0, 2, 2, 0, 1, 1, 1, 1, 2])
    rows = examples(ImageSet(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), labels))
    assert rows == [1, 4, 5, 6, 7, 0, 2, 3]


def test_a_view_of_more_dimensions_is_chosen_by_the_training_points_alone():
    train = np.zeros((50, 3), "f4")
    train[:, 2] = np.linspace(-1, 1, 50)  # spread along the third axis only
    train[:, 1] = 0.1 * np.tile([-1, 1], 25)
    test = np.array([[9, 0, 0], [0, 0, 0.5]], "f4")  # the test points, along the first
    view = panel("title", Embedding(EmbeddingKey("vae", 3, "a"), train, test))
    np.testing.assert_allclose(np.abs(view.points), [[0, 0], [0.5, 0]], atol=0.02)
    assert "first 2 principal components of its 3 dimensions (100 % of the variance)" in view.remark


def test_two_dimensions_are_shown_as_they_are():
    points = np.random.default_rng(0).normal(size=(5, 2)).astype("f4")
    assert panel("title", Embedding(EmbeddingKey("pca", 2), points, points)).points is points


def test_accuracy_has_a_line_for_each_embedding_in_both_panels(results):
    by_k, by_size = draw_accuracy(results).axes
    assert len(by_k.lines) == len(by_size.lines) == len(results.comparison.keys)
    winner = max(by_k.lines, key=lambda line: line.get_linewidth())
    expected = results.scores.knn_of(results.comparison.winner.key, "test").query(
        "samples_per_class.isna() and weights == 'distance'"
    )
    assert winner.get_xdata().tolist() == expected["n_neighbors"].tolist() == [1, 5, 10, 25, 50]
    assert winner.get_ydata().tolist() == expected["value"].tolist()


def test_names_beside_lines_do_not_overlap():
    axes = Figure().subplots()
    axes.set_ylim(0, 1)
    label_line_ends(axes, [(0.90, "a", "k", False), (0.91, "b", "k", False), (0.2, "c", "k", True)], gap=0.1)
    places = {text.get_text(): text.xyann[1] for text in axes.texts}
    assert places == pytest.approx({"b": 0.91, "a": 0.81, "c": 0.2})


@pytest.mark.parametrize("n", [1, 10, 40])
def test_every_class_has_its_own_colour(n):
    assert len({tuple(colour) for colour in class_colours(n)}) == n


def test_the_front_is_drawn_joined_and_named_and_stopped_trials_are_faint(study):
    add_objective(study, {BEST: 0.4, SECOND: 0.5, "0004-fc-2d": 0.3, "0002-fc-3d": 0.6}, front={BEST, SECOND})
    axes = draw_pareto(Results.read(study)).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["Pareto front"].get_xdata().tolist() == [0.90, 0.95]
    assert lines["Pareto front"].get_ydata().tolist() == [0.5, 0.4]
    assert lines["Pareto front"].get_linestyle() == "-"
    assert lines["completed"].get_xdata().tolist() == [0.80]
    assert lines["stopped early or failed"].get_color() == FAINT
    assert {text.get_text() for text in axes.texts} == {BEST, SECOND}
    assert axes.get_xlabel() == "KNN accuracy on the validation images (higher is better)"


def test_the_front_of_sizes_has_a_tick_for_each_of_them(study):
    add_objective(study, {}, front={BEST, SECOND})
    record = study.read_study()
    record.objectives, record.modes = ["val_knn_accuracy", "latent_dim"], ["max", "min"]
    record.write(study.study_file)
    axes = draw_pareto(Results.read(study)).axes[0]
    assert axes.get_ylabel() == "latent dimensions (lower is better)"
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2", "4", "10"]


def test_accuracy_by_dimension_has_the_intervals_of_the_comparison(results):
    axes = draw_dimensions(results).axes[0]
    drawn = {container.get_label(): container for container in axes.containers}
    assert list(drawn) == ["VAE, best finalist of each dimension", "PCA"]
    rows = {row.key.dim: row for row in results.comparison if row.key.method == "vae"}
    dots, _, bars = drawn["VAE, best finalist of each dimension"]
    assert dots.get_xydata().tolist() == [[dim, rows[dim].test] for dim in sorted(rows)]
    ends = [segment[:, 1].tolist() for segment in bars[0].get_segments()]
    assert ends == [pytest.approx(rows[dim].test_interval) for dim in sorted(rows)]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "4", "10"]


@pytest.mark.parametrize("others", [(0.77, 0.95), (0.6, 0.83), ()])
def test_the_name_in_the_ring_hides_no_point_of_its_dimension(others):
    figure = Figure(figsize=(9, 5.2))
    axes = figure.subplots()
    axes.set(xlim=(1, 33), ylim=(0.5, 1.0))
    row = SimpleNamespace(test=0.8, test_interval=(0.79, 0.81), key=SimpleNamespace(dim=8, trial_id=BEST))
    draw_ring(axes, row, [0.8, *others], is_last=False)
    figure.draw_without_rendering()
    [name] = axes.texts
    box = name.get_window_extent()
    for accuracy in (0.8, *others):
        assert not box.contains(*axes.transData.transform((8, accuracy)))


@pytest.mark.parametrize("dots_per_inch", [200, 72])  # of a PNG and of an SVG
def test_names_of_points_cover_neither_each_other_nor_a_point(dots_per_inch):
    figure = Figure(figsize=(9, 5), dpi=200)
    axes = figure.subplots()
    points = np.array([[0.5, 0.5], [0.5, 0.501], [0.501, 0.5], [0.9, 0.1], [0.99, 0.99]])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_points(axes, points, [f"000{i}-fc_conv-10d" for i in range(5)], avoid=np.array([[0.55, 0.5]]))
    figure.set_dpi(dots_per_inch)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the point
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    for x, y in axes.transData.transform([*points, (0.55, 0.5)]):
        assert not any(box.contains(x, y) for box in boxes)
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (3, 1), (4, 2), (5, 2)])
def test_many_latent_spaces_take_two_rows(n, rows):
    points = np.random.default_rng(0).normal(size=(20, 2)).astype("f4")
    view = panel("title", Embedding(EmbeddingKey("pca", 2), points, points))
    axes = draw_latent_spaces([view] * n, None, ()).axes
    assert len(axes) == n
    assert axes[0].get_subplotspec().get_gridspec().nrows == rows
