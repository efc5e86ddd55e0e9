"""The images lie once in the memory of a node, however many trials it runs."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.tune.conftest import SMALL_SPACE
from tune import search_loop
from tune.__main__ import main
from tune.trials import trainable

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def place(array):
    """Return the file in memory that an array lies in, and where in that file: the same in every process."""
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        limits, _, offset, device, inode, *name = line.split()
        start, end = (int(limit, 16) for limit in limits.split("-"))
        if start <= address < end:
            return {"file": f"{device} {inode} {name}", "offset": int(offset, 16) + address - start}
    raise AssertionError("nowhere")


def test_all_trials_of_a_node_read_the_same_bytes(tmp_path, monkeypatch, ray_cluster):
    def train_and_tell(config, *, data, **arguments):
        seen = {
            **place(data.train_images),
            "pid": os.getpid(),
            "writeable": data.train_images.flags.writeable,
            "copied": data.train(trainable.torch.device("cpu")).images.data_ptr()
            != data.train_images.ctypes.data,
        }
        (tmp_path / f"{config['trial_id']}.json").write_text(json.dumps(seen))
        trainable.train_trial(config, data=data, **arguments)

    monkeypatch.setattr(search_loop, "train_trial", train_and_tell)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    command = ["search", "--dataset", "digits", "--space", "space.yaml", "--name", "run", "--no-evaluate"]
    assert main([*command, "--trials", "4", "--max-epochs", "5", "--scheduler", "none"]) == 0
    seen = [json.loads(file.read_text()) for file in tmp_path.glob("0*.json")]
    assert len(seen) == 4
    assert len({each["pid"] for each in seen}) >= 2  # two CPUs have two workers
    assert len({(each["file"], each["offset"]) for each in seen}) == 1
    assert "plasma" in seen[0]["file"]  # Ray's object store
    assert not any(each["writeable"] or each["copied"] for each in seen)
