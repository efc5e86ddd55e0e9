import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.s3_server import SLOW_DOWN, S3Server
from tune.storage.filesystems import LONG_RETRIES
from tune.storage.mirror import LeaseLost, Mirror
from tune.storage.run_directory import RunDirectory
from vae.errors import StorageError, UsageError


@pytest.fixture(params=["file", "s3"])
def uri(request, tmp_path) -> str:
    """A place for a run on a filesystem with folders, and on one without."""
    if request.param == "file":
        return (tmp_path / "there" / "run").as_uri()
    s3: S3Server = request.getfixturevalue("s3")
    return s3.uri(f"{tmp_path.name}/run")


def there(uri: str) -> dict[str, bytes]:
    """Return what another machine finds under a URI."""
    remote = Mirror(uri)
    files = [info for info in remote.list(remote.directory, recursive=True) if info.is_file]
    names = [info.path.removeprefix(remote.remote_path(remote.directory) + "/") for info in files]
    return {name: remote.read(remote.directory / name) for name in names}


def write(run: RunDirectory, **files: str) -> None:
    for name, content in files.items():
        path = run.path / name.replace("__", "/").replace("_json", ".json").replace("_png", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_what_one_machine_pushes_another_fetches(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}", checkpoints__0001__config_json="{}", checkpoints__0002__config_json="{}")
    run.journal_file.write_text("a line\n")
    run.push()
    assert run.location == uri
    assert run.location_of(run.report_file) == uri.replace("/run", "/run/report.html")

    other = RunDirectory.open(uri)
    assert other.path != run.path
    assert other.path.name == "run"
    assert other.journal_file.read_text() == "a line\n"
    assert not other.checkpoints_dir.exists()  # nobody has asked for one
    other.fetch(other.checkpoint_dir("0001"))
    assert [path.name for path in other.checkpoints_dir.iterdir()] == ["0001"]


def test_only_what_has_changed_is_sent(uri, monkeypatch):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}", evaluation_json="{}")
    run.push()
    sent = []
    monkeypatch.setattr(run.mirror, "_send", lambda path: sent.append(path.name))
    run.push()
    assert sent == []
    write(run, evaluation_json="{ }")
    run.push()
    assert sent == ["evaluation.json"]


def test_the_journal_goes_first_and_the_rest_as_it_was_written(uri, monkeypatch):
    run = RunDirectory.resolve(uri)
    times = {"epochs.parquet": 1, "trials.parquet": 2, "study.json": 3, "optuna.journal": 4}
    for name, time_s in times.items():
        (run.path / name).write_text(name)
        os.utime(run.path / name, (time_s, time_s))
    sent = []
    monkeypatch.setattr(run.mirror, "_send", lambda path: sent.append(path.name))
    run.push()
    assert sent == ["optuna.journal", "epochs.parquet", "trials.parquet", "study.json"]


def test_locks_temporary_files_and_what_workers_write_stay_here(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}", **{".lock": "", "ray__state": "", ".evaluated__a": "", "figures__.b": ""})
    run.push()
    assert list(there(uri)) == ["study.json"]


def test_of_embeddings_and_figures_nothing_older_stays(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}", figures__a_png="1", figures__b_png="1", checkpoints__0001__config_json="{}")
    run.push()
    other = RunDirectory.resolve(uri)
    write(other, figures__b_png="2")
    other.push()
    assert there(uri) == {
        "study.json": b"{}",
        "figures/b.png": b"2",
        "checkpoints/0001/config.json": b"{}",
    }


def test_fetching_again_brings_what_is_new_and_keeps_what_was_changed_here(uri):
    run, other = RunDirectory.resolve(uri), RunDirectory.resolve(uri)
    write(run, study_json="1", evaluation_json="1")
    run.push()
    other.fetch(other.path)
    write(run, study_json="22", evaluation_json="22")
    run.push()
    write(other, evaluation_json="333")
    assert other.mirror is not None
    other.mirror.fetch(other.path, again=True)
    assert other.study_file.read_text() == "22"
    assert other.evaluation_file.read_text() == "333"
    other.push()


def test_a_fetched_file_tells_when_it_was_written_there(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}")
    os.utime(run.study_file, (1000, 1000))
    run.push()
    written = RunDirectory.resolve(uri).study_file.stat().st_mtime
    assert abs(written - time.time()) < 60


def test_nothing_under_a_uri_is_no_run_directory(uri):
    with pytest.raises(
        UsageError, match=f"no run directory at {uri.partition('?')[0]}.*tune search` makes one"
    ):
        RunDirectory.open(uri)
    run = RunDirectory.resolve(uri)
    write(run, evaluation_json="{}")
    run.push()
    with pytest.raises(UsageError, match="is not a run directory: it has no study.json"):
        RunDirectory.open(uri)


def test_a_file_and_a_folder_can_be_deleted(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}", figures__a_png="1")
    run.push()
    assert run.mirror is not None
    run.mirror.delete(run.study_file)
    run.mirror.delete(run.study_file)
    assert list(there(uri)) == ["figures/a.png"]
    run.mirror.delete(run.path)
    assert not run.exists()


def test_throttling_and_a_failing_upload_are_sat_out(s3, tmp_path):
    run = RunDirectory.resolve(s3.uri(tmp_path.name))
    (run.path / "large").write_bytes(os.urandom(12 << 20))  # several parts
    assert run.mirror is not None
    run.mirror.set_retries(LONG_RETRIES)
    failed: dict[tuple[str, str], int] = {}

    def twice(method, path, query):
        request = (method, query.partition("uploadId")[0])
        failed[request] = failed.get(request, 0) + 1
        return SLOW_DOWN if method in ("PUT", "POST") and failed[request] <= 2 else None

    s3.fault = twice
    run.push()
    assert sum(count > 2 for count in failed.values()) >= 3, failed  # begun, its parts sent, completed
    assert s3.read(f"{tmp_path.name}/large") == (run.path / "large").read_bytes()


def test_what_cannot_be_sent_stays_and_is_sent_by_the_next_push(s3, tmp_path):
    run = RunDirectory.resolve(s3.uri(tmp_path.name))
    write(run, study_json="{}")
    s3.fault = lambda method, path, query: SLOW_DOWN if method == "PUT" else None
    with pytest.raises(StorageError, match="cannot write s3://bucket/.*/study.json.*SLOW_DOWN"):
        run.push()
    s3.serve()
    run.push()
    assert s3.read(f"{tmp_path.name}/study.json") == b"{}"


def test_without_its_lease_a_process_changes_nothing(uri):
    run = RunDirectory.resolve(uri)
    write(run, study_json="{}")
    run.push()
    before = there(uri)
    assert run.mirror is not None
    run.mirror.leases = (run.path / ".claims" / "gone",)
    write(run, study_json="{ }")
    for change in (
        run.push,
        lambda: run.mirror.write(run.report_file, b""),
        lambda: run.mirror.copy(run.study_file, run.report_file),
        lambda: run.mirror.delete(run.path),
    ):
        with pytest.raises(LeaseLost, match="another process has taken over .* did not send is in"):
            change()
    assert there(uri) == before
    run.mirror.leases = ()
    run.push()


LEAVE = """
import sys
import time
from tune.storage.run_directory import RunDirectory
run = RunDirectory.resolve(sys.argv[1])
(run.path / "study.json").write_text("{}")
if sys.argv[2] == "push":
    run.push()
print(run.path)
"""


@pytest.mark.parametrize("what", ["push", "forget"])
def test_the_directory_here_is_gone_afterwards_unless_something_in_it_was_not_sent(tmp_path, what):
    uri = (tmp_path / "run").as_uri()
    command = [sys.executable, "-c", LEAVE, uri, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    left = Path(done.stdout.strip())
    assert left.exists() == (what == "forget")
    assert (f"what could not be sent to {uri} is in {left}" in done.stderr) == (what == "forget")
