"""What the trials had to run on."""

import pytest

from tune.callbacks.utilization import Utilization
from tune.cluster import resources
from tune.cluster.resources import TrialResources


def test_slots_count_as_long_as_their_nodes_are_there(monkeypatch):
    time, nodes = [0.0], []
    monkeypatch.setattr(resources, "alive_nodes", lambda: nodes)
    utilization = Utilization(TrialResources(1.0, 0.5, 3), clock=lambda: time[0])
    assert utilization.share(0.0) == 0.0

    def pass_until(seconds):
        time[0] = seconds
        utilization.on_step_end(0, [])

    pass_until(10.0)  # nothing yet
    nodes += [{"CPU": 4, "GPU": 1}]
    pass_until(12.0)  # too early for another sample
    assert utilization.slots == 0
    pass_until(20.0)
    assert utilization.slots == 2
    nodes += [{"CPU": 4, "GPU": 1}]
    pass_until(30.0)
    assert utilization.slots == 3  # of four: no more were asked for
    time[0] = 40.0
    utilization.update()
    assert utilization.seconds == 40.0
    assert utilization.slot_seconds == 10 * 2 + 10 * 3
    assert utilization.share(25.0) == pytest.approx(0.5)
