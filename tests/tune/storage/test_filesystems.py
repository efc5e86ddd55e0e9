import contextlib
import pickle
import re
import socket
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import fs

from tests.s3_server import ACCESS_DENIED, BUCKET, SILENCE, SLOW_DOWN
from tune.storage import filesystems
from tune.storage.filesystems import (
    LONG_RETRIES,
    RetryPolicy,
    check_writable,
    connect,
    is_uri,
    join,
    last_part,
    parse_location,
    with_retries,
)
from tune.storage.run_directory import RunDirectory
from vae.command_line import exit_code
from vae.errors import StorageError, UsageError


def test_what_has_a_scheme_is_a_uri_and_all_else_a_path():
    assert is_uri("s3://bucket/prefix")
    assert not is_uri("runs/s3")
    assert parse_location("s3://bucket/prefix") == "s3://bucket/prefix"
    assert parse_location("~/runs") == Path.home() / "runs"


def test_the_options_of_a_uri_stay_behind_the_question_mark():
    place = "s3://bucket/prefix/?endpoint_override=http://host:9"
    assert join(place, "run") == "s3://bucket/prefix/run?endpoint_override=http://host:9"
    assert join("s3://bucket", "run") == "s3://bucket/run"
    assert join("file:///srv/runs", "a/b.png") == "file:///srv/runs/a/b.png"
    assert join(Path("runs"), "run") == Path("runs/run")
    assert last_part(str(join(place, "run"))) == "run"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("ftp://host/runs", "cannot use 'ftp://host/runs' as storage: Unrecognized filesystem type"),
        ("s3://bucket/x?endpoint=host", "Unexpected query parameter in S3 URI: 'endpoint'"),
        ("s3://", "must name a bucket or folder, got 's3://'"),
        ("s3://key:secret@bucket/x", "must hold no password"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_refused(place, says):
    with pytest.raises(UsageError, match=says.replace("?", r"\?")) as refused:
        connect(place)
    assert exit_code(refused.value) == 2
    assert "secret" not in str(refused.value)


def test_an_s3_filesystem_keeps_its_retries_where_a_worker_unpickles_it(s3):
    filesystem, path = connect(s3.uri("pickled"))
    there = pickle.loads(pickle.dumps(with_retries(filesystem, LONG_RETRIES)))
    assert isinstance(there, fs.S3FileSystem)
    failed = [0]

    def slow_down(method, path, query):
        failed[0] += method == "PUT"
        return SLOW_DOWN if method == "PUT" and failed[0] < 6 else None

    s3.fault = slow_down
    there.open_output_stream(f"{path}/file").close()  # the fourth attempt is the last of `filesystem`
    assert failed == [6]
    assert s3.keys("pickled") == ["pickled/file"]


def test_a_bucket_that_can_be_written_is_left_as_it_was(s3):
    check_writable(s3.uri("probed"))
    assert s3.keys("probed") == []


@pytest.mark.parametrize(
    ("fault", "says"), [(ACCESS_DENIED, "ACCESS_DENIED"), (SLOW_DOWN, "SLOW_DOWN"), (SILENCE, "Timeout")]
)
def test_a_bucket_that_cannot_be_written_is_told_in_one_line_within_30_seconds(s3, fault, says):
    s3.fault = lambda method, path, query: fault
    begun = time.monotonic()
    message = f"cannot write s3://bucket/x.*{says}.*choose another --storage"
    with pytest.raises(StorageError, match=message) as no:
        check_writable(s3.uri("x"))
    assert time.monotonic() - begun < 30
    assert "\n" not in str(no.value)


@pytest.fixture
def black_hole():
    """The address of a server that takes no connection, nor refuses one: too many wait there already."""
    with contextlib.ExitStack() as at_end:
        server = at_end.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = at_end.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_address_that_swallows_everything_is_told_in_one_line_within_30_seconds(s3, black_hole):
    begun = time.monotonic()
    with pytest.raises(StorageError, match="cannot read s3://bucket/x.*Timeout was reached"):
        RunDirectory.open(f"s3://{BUCKET}/x?endpoint_override={black_hole}")
    assert time.monotonic() - begun < 30


def test_a_person_is_told_of_a_long_silence(s3, monkeypatch, caplog):
    monkeypatch.setattr(filesystems, "WARN_AFTER_S", 0.5)
    check_writable(s3.uri("x"))
    assert not caplog.messages
    silent = []

    def once(method, path, query):
        silent.append(method)
        return SILENCE if len(silent) == 1 else None

    s3.fault = once
    check_writable(s3.uri("x"))
    (message,) = caplog.messages
    assert re.match(
        "could not write s3://bucket/x.* for .* s; still trying, for some minutes at most", message
    )


def test_googles_storage_is_not_asked_for_a_quarter_of_an_hour(monkeypatch):
    place = "gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1:1"
    filesystem, _ = connect(place)
    limits = [
        f.__reduce__()[1][0]["retry_time_limit"] for f in (filesystem, with_retries(filesystem, LONG_RETRIES))
    ]
    assert limits == [timedelta(seconds=16), timedelta(minutes=4)]
    monkeypatch.setattr(filesystems, "SHORT_RETRIES", RetryPolicy(1, timedelta(seconds=1)))
    with pytest.raises(StorageError, match=r"cannot write gs://.*: PerformWork.* connect to server; check"):
        check_writable(place)


def test_what_azures_storage_raises_is_one_line_too(monkeypatch):
    def refuse(path):
        raise pa.ArrowException("Unknown error: Failed to get token\nfrom DefaultAzureCredential.")

    azure = SimpleNamespace(type_name="abfs", open_output_stream=refuse)
    monkeypatch.setattr(filesystems, "connect", lambda place: (azure, "container/x"))
    with pytest.raises(StorageError, match=r"cannot write abfs://c/x: .*token from Default.*\.; check"):
        check_writable("abfs://c/x")


def test_a_bucket_or_server_that_is_not_there_is_told_in_one_line(s3):
    with pytest.raises(
        StorageError, match="NO_SUCH_BUCKET.*The specified bucket does not exist; check the credentials, or"
    ):
        check_writable(s3.uri("x").replace(BUCKET, "nobucket"))
    with pytest.raises(StorageError, match="cannot write s3://bucket/x.*Could not connect to server"):
        check_writable(f"s3://{BUCKET}/x?endpoint_override=http://127.0.0.1:1")
