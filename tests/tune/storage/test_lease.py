import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.s3_server import NO_SUCH_BUCKET
from tune.storage import lease
from tune.storage.lease import is_leased
from tune.storage.lock import exclusive
from tune.storage.mirror import LeaseLost
from tune.storage.run_directory import RunDirectory
from tune.study.session import _removed_unless_started
from vae.errors import StorageError, UsageError

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from tune.storage.lock import exclusive
from tune.storage.run_directory import RunDirectory
run = RunDirectory.resolve(sys.argv[1])
with exclusive(run, run.lock_file, lambda: "busy"):
    print(run.path, flush=True)
    time.sleep(60)
"""


def holding(run: RunDirectory):
    return exclusive(run, run.lock_file, lambda: "somebody is at work")


def claims(uri: str) -> list[str]:
    run = RunDirectory.resolve(uri)
    assert run.mirror is not None
    return [info.base_name for info in run.mirror.list(run.path / ".claims")]


@pytest.fixture
def uri(s3, tmp_path):
    return s3.uri(f"{tmp_path.name}/run")


def test_the_second_is_refused_and_the_first_keeps_its_claim(uri):
    first, second = RunDirectory.resolve(uri), RunDirectory.resolve(uri)
    with holding(first):
        with (
            pytest.raises(UsageError, match="somebody is at work .*last sign of life is . s old; after 45 s"),
            holding(second),
        ):
            pass
        assert len(claims(uri)) == 1
        assert is_leased(second.mirror, second.lock_file)
    assert claims(uri) == []
    assert not is_leased(second.mirror, second.lock_file)
    with holding(second):
        pass


def test_a_search_and_an_evaluation_do_not_exclude_each_other(uri):
    first, second = RunDirectory.resolve(uri), RunDirectory.resolve(uri)
    with holding(first), exclusive(second, second.evaluation_lock_file, lambda: "evaluated"):
        assert len(claims(uri)) == 2


def killed(uri: str) -> Path:
    """Return where a process has worked that was killed while it held its claim."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, uri], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    directory = Path(process.stdout.readline().strip())
    with pytest.raises(UsageError), holding(RunDirectory.resolve(uri)):
        pass
    process.kill()
    process.communicate()
    return directory


def test_on_the_same_machine_a_dead_holder_is_recognised_at_once(uri):
    killed(uri)
    assert len(claims(uri)) == 1
    with holding(RunDirectory.resolve(uri)):
        assert len(claims(uri)) == 1
    assert claims(uri) == []


def test_elsewhere_a_dead_holder_is_recognised_by_its_silence(uri, monkeypatch):
    killed(uri).joinpath(".lock").unlink()  # this is now another machine
    with pytest.raises(UsageError, match="somebody is at work"), holding(RunDirectory.resolve(uri)):
        pass
    monkeypatch.setattr(lease, "LEASE_TTL_S", 1.0)
    time.sleep(2.1)
    with holding(RunDirectory.resolve(uri)):
        assert len(claims(uri)) == 1


def test_a_holder_gives_signs_of_life_and_notices_that_it_was_given_up(uri, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    monkeypatch.setattr(lease, "LEASE_TTL_S", 1.5)
    first, second = RunDirectory.resolve(uri), RunDirectory.resolve(uri)
    assert first.mirror is not None
    with holding(first):
        time.sleep(2.5)
        with pytest.raises(UsageError, match="somebody is at work"), holding(second):
            pass
        first.mirror.check_leases()
        second.mirror.delete(second.path / ".claims")
        first.study_file.write_text("{}")
        with pytest.raises(LeaseLost, match="another process has taken over"):
            first.push()
        time.sleep(0.5)
        assert claims(uri) == []  # it does not come back
        first.study_file.unlink()


def test_a_driver_that_was_suspended_does_not_overwrite_its_successor(uri, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 1000.0)  # as it gives no sign of life while it is suspended
    first, second = RunDirectory.resolve(uri), RunDirectory.resolve(uri)
    with holding(first):
        first.journal_file.write_text("trials 0-3\n")
        first.push()
        with monkeypatch.context() as patch:
            patch.setattr(lease, "LEASE_TTL_S", -1.0)
            with holding(second):
                second.fetch(second.path)
                second.journal_file.write_text("trials 0-3\ntrials 4-9\n")
                second.push()
        first.journal_file.write_text("trials 0-3\ntrial 4\n")
        with pytest.raises(LeaseLost, match=f"another process has taken over .*{first.path}"):
            first.push()
        first.journal_file.unlink()
    assert RunDirectory.resolve(uri).journal_file.read_text() == "trials 0-3\ntrials 4-9\n"


def test_a_search_that_never_began_leaves_a_successor_alone(uri, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 1000.0)
    first, second = RunDirectory.resolve(uri), RunDirectory.resolve(uri)

    def take_over():
        monkeypatch.setattr(lease, "LEASE_TTL_S", -1.0)
        with holding(second):
            second.study_file.write_text("{}")
            second.push()

    session = SimpleNamespace(run=first, started=False)
    with pytest.raises(LeaseLost), holding(first), _removed_unless_started(session):
        take_over()
    assert RunDirectory.resolve(uri).study_file.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"host": "here", "lock_file": 3}'])
def test_a_lease_that_cannot_be_read_counts_until_it_is_old(uri, monkeypatch, content):
    run = RunDirectory.resolve(uri)
    assert run.mirror is not None
    run.mirror.write(run.path / ".claims" / ".lock-0123", content)
    with pytest.raises(UsageError, match="somebody is at work"), holding(run):
        pass
    monkeypatch.setattr(lease, "LEASE_TTL_S", -1.0)
    with holding(run):
        assert ".lock-0123" not in claims(uri)


def test_a_bucket_that_is_gone_for_a_moment_has_not_been_taken_over(s3, uri, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    run = RunDirectory.resolve(uri)
    assert run.mirror is not None
    with holding(run):
        s3.fault = lambda method, path, query: NO_SUCH_BUCKET
        run.mirror.check_leases()
        time.sleep(1)
        s3.serve()
        time.sleep(0.5)
        run.mirror.check_leases()


def test_where_nothing_can_be_written_there_is_no_claim(s3, uri):
    run = RunDirectory.resolve(uri)
    s3.fault = lambda method, path, query: ("403 Forbidden", "AccessDenied") if method == "PUT" else None
    with pytest.raises(StorageError, match="cannot write .*ACCESS_DENIED"), holding(run):
        pass
