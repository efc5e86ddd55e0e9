"""What must hold on a GPU is tested on one that is not there, in a process that no other test shares."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("on_fake_gpu.py")


def test_no_tensor_is_on_the_wrong_device_and_no_step_waits():
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", str(SCRIPT)]
    done = subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
