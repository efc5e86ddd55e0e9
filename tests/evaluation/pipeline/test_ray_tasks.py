import pytest

from evaluation.embedders import Images, Pca, Raw
from evaluation.pipeline import serial
from evaluation.pipeline.ray_tasks import compute
from evaluation.pipeline.serial import Embedded, Gap, Scored
from evaluation.scores.protocols import KnnGrid
from tests.evaluation.broken_embedders import KilledOnce, NotANumber, Raising

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

GRID = KnnGrid(samples_per_class=(5, None), n_neighbors=(1, 5))


def scores(events):
    rows = [row for event in events if isinstance(event, Scored) for row in event.rows]
    return sorted(str({name: value for name, value in row.items() if name != "seconds"}) for row in rows)


def test_ray_tasks_give_the_scores_and_the_gaps_of_the_serial_run(few_digits):
    images = Images.from_dataset(few_digits)
    embedders = [Raw(64), Raising(), Pca((2, 5)), NotANumber()]
    expected = list(serial.compute(images, embedders, GRID))
    fanned_out = list(compute(images, embedders, GRID))
    assert scores(fanned_out) == scores(expected)
    gaps = [
        sorted(str(event) for event in events if isinstance(event, Gap)) for events in (fanned_out, expected)
    ]
    assert gaps[0] == gaps[1]
    assert len(gaps[0]) == 2


def test_a_killed_task_is_tried_again(few_digits, tmp_path):
    images = Images.from_dataset(few_digits)
    events = list(compute(images, [KilledOnce(tmp_path / "killed")], GRID))
    assert (tmp_path / "killed").exists()
    assert [type(event) for event in events] == [Embedded, *[Scored] * 7]
