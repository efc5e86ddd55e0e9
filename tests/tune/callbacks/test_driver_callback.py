"""When a callback of the driver does its work, and what Tune pickles of it."""

import pickle

from tune.callbacks.driver_callback import DriverCallback


class Counter(DriverCallback):
    every_s = 5.0

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.n_updates = 0

    def update(self):
        self.n_updates += 1


def test_it_works_at_the_first_step_and_then_once_in_so_many_seconds():
    now, updates = [0.0], []
    callback = Counter(lambda: now[0])
    for now[0] in (0.0, 1.0, 4.9, 5.0, 9.9, 10.1, 10.2):
        callback.on_step_end(0, [])
        updates.append(callback.n_updates)
    assert updates == [1, 1, 1, 2, 2, 3, 3]


def test_nothing_of_it_travels_with_the_experiment():
    callback = Counter(lambda: 0.0)  # a lambda cannot be pickled
    assert vars(pickle.loads(pickle.dumps(callback))) == {}
