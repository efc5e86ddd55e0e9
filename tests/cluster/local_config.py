"""`cluster.yaml` for machines of one's own: the same files, set-up and start, by Ray's `local` provider."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER_FILE = ROOT / "cluster.yaml"
CLOUD_ONLY = ("docker", "head_node_type", "available_node_types")
"""What docs/cluster.md removes from `cluster.yaml`; `provider` and `auth` are replaced."""


def cloud_config() -> dict[str, Any]:
    """Return what `cluster.yaml` says."""
    config: dict[str, Any] = yaml.safe_load(CLUSTER_FILE.read_text())
    return config


def on_premises(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a cloud configuration as one for the `local` provider, with ``changes`` in place of its own."""
    return {key: value for key, value in config.items() if key not in CLOUD_ONLY} | changes


def with_worker_options(config: dict[str, Any], options: str) -> dict[str, Any]:
    """Return a configuration whose `ray start` on the workers has more options."""
    *before, start = config["worker_start_ray_commands"]
    return config | {"worker_start_ray_commands": [*before, f"{start} {options}"]}
