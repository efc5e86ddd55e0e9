"""`make gpu-check`, on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import gpu_check
from vae.config import ARCHITECTURES

ROOT = Path(__file__).parents[2]

ON_A_BARE_MACHINE = """
import sys
for name in ("safetensors", "PIL", "ray", "rich", "yaml", "optuna", "matplotlib", "torchvision"):
    sys.modules[name] = None  # cannot be imported
from tests.benchmarks.gpu_check import main
sys.exit(main(["--device", "cpu", "--small", "--output", sys.argv[1]]))
"""


def test_it_needs_no_more_than_torch_numpy_and_scikit_learn_and_passes_on_a_cpu(tmp_path):
    output = tmp_path / "check.json"
    command = [sys.executable, "-c", ON_A_BARE_MACHINE, str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    assert report["passed"]
    assert report["missing"] == ["safetensors", "PIL"]
    assert {"date", "torch", "cuda", "gpu"} <= set(report)
    checks = {check["name"]: check for check in report["checks"]}
    assert list(checks) == [check.__name__ for check in gpu_check.CHECKS]
    assert [name for name, check in checks.items() if check["skipped"]] == ["waits", "sharing"]
    assert {row["architecture"] for row in checks["results"]["rows"]} == set(ARCHITECTURES)
    assert all(row["exactness"] == "same bits" for row in checks["resume"]["rows"])


def test_a_check_that_fails_stops_no_other_and_shows_in_the_exit_code(tmp_path, monkeypatch, capsys):
    def breaks(bench):
        yield {"passed": True}
        raise RuntimeError("CUDA error")

    def differs(bench):
        yield {"passed": False, "difference": 2.0}

    def passes(bench):
        yield {"passed": True}

    monkeypatch.setattr(gpu_check, "CHECKS", (breaks, differs, passes))
    output = tmp_path / "check.json"
    assert gpu_check.main(["--device", "cpu", "--small", "--output", str(output)]) == 1
    report = json.loads(output.read_text())
    assert not report["passed"]
    assert [check["passed"] for check in report["checks"]] == [False, False, True]
    assert report["checks"][0]["error"] == "RuntimeError: CUDA error"
    assert report["checks"][0]["rows"] == [{"passed": True}]
    assert "FAILED" in capsys.readouterr().out


def test_what_does_not_begin_in_time_has_not_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "LIMIT_S", -1.0)
    output = tmp_path / "check.json"
    assert gpu_check.main(["--device", "cpu", "--small", "--output", str(output)]) == 1
    assert all("no time left" in check["error"] for check in json.loads(output.read_text())["checks"])
