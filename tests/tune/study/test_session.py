"""An existing study that is opened for further work."""

import json

from tune.study.session import open_study


def test_a_study_whose_objective_would_be_refused_today_still_opens(old_run):
    run = old_run("interrupted")
    content = json.loads(run.study_file.read_text())
    content["space"]["free_bits"] = {"choice": [0.0, 0.5]}
    content |= {"objective": ["val_loss"], "mode": "min", "modes": ["min"]}
    run.study_file.write_text(json.dumps(content))
    with open_study(run) as session:
        assert [(objective.name, objective.mode) for objective in session.objectives] == [("val_loss", "min")]
