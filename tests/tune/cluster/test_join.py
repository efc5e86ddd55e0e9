"""A cluster that cannot be joined is one clear line, soon, and leaves nothing behind."""

import subprocess
import sys
import time

import pytest
import ray

from tests.processes import COMMAND, SOURCE, own_environment
from tune.cluster import join
from tune.cluster.join import check_cluster
from tune.cluster.session import ray_session
from vae.errors import UsageError

SECONDS = 30
CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
from tune.cluster.join import check_cluster
try:
    check_cluster(sys.argv[2])
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:head", "no-such-host.invalid"])
def test_an_address_where_nobody_answers_is_refused_without_asking_ray(monkeypatch, address):
    monkeypatch.setattr(ray, "init", lambda *arguments, **options: pytest.fail("Ray was asked"))
    with (
        pytest.raises(UsageError, match=f"no Ray cluster answers at '{address}'") as error,
        ray_session(address),
    ):
        pass
    assert "\n" not in str(error.value)


def test_auto_without_a_cluster_is_refused(monkeypatch):
    def fail(address):
        raise ConnectionError("Could not find any running Ray instance.\nMore words.")

    monkeypatch.setattr(join, "canonicalize_bootstrap_address_or_die", fail)
    with pytest.raises(UsageError, match=r"answers at 'auto' \(Could not find any") as error:
        check_cluster("auto")
    assert "\n" not in str(error.value)


@pytest.fixture
def address(ray_cluster):
    return ray.get_runtime_context().gcs_address


@pytest.mark.ray
def test_a_cluster_that_can_be_joined_is_found(address):
    assert check_cluster(address) == address


@pytest.mark.ray
@pytest.mark.parametrize("versions", [("2.1.0", "3.11.9"), (ray.__version__, "3.9.1")])
def test_other_versions_than_the_clusters_are_refused(address, monkeypatch, versions):
    theirs = join.compute_version_info()
    monkeypatch.setattr(join, "compute_version_info", lambda: versions)
    with pytest.raises(UsageError) as error:
        check_cluster(address)
    for version in (*versions, *theirs):
        assert version in str(error.value)


@pytest.mark.ray
def test_a_machine_that_is_not_a_node_is_refused(address, monkeypatch):
    monkeypatch.setattr(join, "find_node_ids", list)
    with pytest.raises(UsageError, match=f"not a node of the cluster at '{address}'"):
        check_cluster(address)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "refuses a caller without a token"),
        ({"RAY_AUTH_MODE": "token"}, "refuses the token of this user"),
    ],
    ids=["not asked for", "asked for"],
)
def test_without_a_token_one_is_refused(address, tmp_path, variables, words):
    """In a process of its own: Ray's client would end it with a stack trace."""
    environment = own_environment() | {"HOME": str(tmp_path)} | variables
    command = [sys.executable, "-c", CHECK, str(SOURCE), address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr == ""
    assert done.stdout.startswith(f"the Ray cluster at '{address}' {words}")


@pytest.mark.ray
def test_with_a_wrong_token_a_search_ends_in_one_line(address, tmp_path):
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "search", "--dataset", "digits", "--address", address],
        cwd=tmp_path,
        env=own_environment() | {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the Ray cluster at '{address}' refuses the token of this user")
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - begun < SECONDS
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / ".ray" / "auth_token").exists()


@pytest.mark.parametrize("sends_one", [True, False])
def test_a_cluster_that_asks_for_no_token_is_told_of_and_sent_none(monkeypatch, caplog, sends_one):
    monkeypatch.setattr(join, "_ask", lambda channel: b"{}")
    monkeypatch.setattr(join, "is_token_auth_enabled", lambda: sends_one)
    enabled = []
    monkeypatch.setattr(join, "maybe_enable_token_auth_if_token_available", lambda **_: enabled.append(1))
    if sends_one:
        with pytest.raises(UsageError, match="'head:1' asks for no token, but here RAY_AUTH_MODE is token"):
            join._use_token_as_wanted("head:1", "192.0.2.2:1")
    else:
        join._use_token_as_wanted("head:1", "192.0.2.2:1")
        assert "'head:1' asks for no token: whoever reaches its ports" in caplog.text
    assert not enabled
