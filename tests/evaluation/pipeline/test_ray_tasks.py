import pytest

from evaluation.embedders import Images, Pca, Raw
from evaluation.pipeline import ray_tasks, serial
from evaluation.pipeline.ray_tasks import compute
from evaluation.pipeline.serial import Embedded, MissingScore, Scored
from evaluation.scores.settings import KnnGrid
from tests.evaluation.broken_embedders import KilledOnce, NotANumber, Raising
from tune.cluster.nodes import HEAD, Nodes
from vae.errors import UsageError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

GRID = KnnGrid(samples_per_class=(5, None), n_neighbors=(1, 5))


def scores(events):
    """Every score by what it is of; the seconds that it took are another run's own."""
    rows = [row for event in events if isinstance(event, Scored) for row in event.rows]
    return {
        str(
            {name: value for name, value in row.items() if name not in ("seconds", "value", "low", "high")}
        ): [row[name] for name in ("value", "low", "high") if name in row]
        for row in rows
    }


def test_ray_tasks_give_the_scores_and_the_gaps_of_the_serial_run(few_digits):
    images = Images.from_dataset(few_digits)
    embedders = [Raw(64), Raising(), Pca((2, 5)), NotANumber()]
    expected = list(serial.compute(images, embedders, GRID))
    fanned_out = list(compute(images, embedders, GRID))
    found, wanted = scores(fanned_out), scores(expected)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():  # the last bit of a sum depends on the number of threads
        assert found[name] == pytest.approx(values, abs=1e-6), name
    gaps = [
        sorted(str(event) for event in events if isinstance(event, MissingScore))
        for events in (fanned_out, expected)
    ]
    assert gaps[0] == gaps[1]
    assert len(gaps[0]) == 2


def test_a_killed_task_is_tried_again(few_digits, tmp_path):
    images = Images.from_dataset(few_digits)
    events = list(compute(images, [KilledOnce(tmp_path / "killed")], GRID))
    assert (tmp_path / "killed").exists()
    assert [type(event) for event in events] == [Embedded, *[Scored] * 3]


def test_an_evaluation_that_no_node_could_run_is_refused(monkeypatch, few_digits):
    monkeypatch.setattr(ray_tasks, "cluster_nodes", lambda: Nodes(({"CPU": 0.0, HEAD: 1.0},)))
    images = Images.from_dataset(few_digits)
    with pytest.raises(UsageError, match="no node of the Ray cluster has a CPU"):
        list(compute(images, [], KnnGrid()))
