"""The start of Ray on this machine, and the token that guards its ports."""

import stat

import psutil
import pytest
import ray
import torch
from ray._private import parameter
from ray._raylet import AuthenticationMode, Config, get_authentication_mode

from tune.cluster import session
from tune.cluster.session import _protect_token, ray_session
from vae.command_line import exit_code
from vae.errors import ClusterError


def test_rays_token_is_private(tmp_path, monkeypatch):
    token = tmp_path / ".ray" / "auth_token"
    monkeypatch.setattr(session, "TOKEN", token)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    _protect_token(make=False)
    assert not token.exists()
    _protect_token(make=True)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
    token.chmod(0o644)
    kept = token.read_text()
    _protect_token(make=True)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == kept


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_of_our_own_listens_on_this_machine_only():
    listening = set()
    for child in psutil.Process().children(recursive=True):
        connections = child.net_connections("tcp")
        listening |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_cluster_of_our_own_asks_for_the_token_whatever_is_set(monkeypatch):
    class Asked(Exception):
        pass

    def init(*arguments, **options):
        raise Asked(get_authentication_mode() == AuthenticationMode.TOKEN)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    Config.initialize("")
    assert get_authentication_mode() == AuthenticationMode.DISABLED
    with pytest.raises(ClusterError, match=r"\(True\)"), ray_session():
        pass


@pytest.mark.parametrize(("available", "counted"), [(True, 3), (False, 0)])
def test_ray_counts_the_gpus_that_torch_can_use(monkeypatch, available, counted):
    asked = []

    def init(*arguments, **options):
        asked.append(options["num_gpus"])
        raise RuntimeError("enough")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)  # not on a Mac, where Ray counts one
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(ClusterError), ray_session():
        pass
    assert asked == [counted]


def test_a_cluster_that_does_not_start_is_one_line(monkeypatch):
    def time_out(*arguments, **options):
        raise Exception("The current node timed out during startup.\nThis could happen because …")

    monkeypatch.setattr(ray, "init", time_out)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(ClusterError, match="^Ray did not start on this machine") as error, ray_session():
        pass
    assert "\n" not in str(error.value)
    assert exit_code(error.value) == 1


def test_a_cluster_leaves_the_usual_port_of_the_agent_to_others(monkeypatch):
    ports = []

    def start(*arguments, **options):
        ports.append(parameter.RayParams().dashboard_agent_listen_port)
        raise RuntimeError("enough")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(ClusterError), ray_session():
        pass
    assert ports == [0]
    assert parameter.RayParams().dashboard_agent_listen_port  # as it was for whoever starts Ray otherwise
