import pickle
import time
from pathlib import Path

import pytest
from pyarrow import fs

from evaluation.uri import address, check_writable, connect, is_uri, join, last_part, patient
from tests.s3_server import ACCESS_DENIED, BUCKET, SILENCE, SLOW_DOWN
from vae.errors import StorageError, UserError


def test_what_has_a_scheme_is_a_uri_and_all_else_a_path():
    assert is_uri("s3://bucket/prefix")
    assert not is_uri("runs/s3")
    assert address("s3://bucket/prefix") == "s3://bucket/prefix"
    assert address("~/runs") == Path.home() / "runs"


def test_the_options_of_a_uri_stay_behind_the_question_mark():
    uri = "s3://bucket/prefix/?endpoint_override=http://host:9"
    assert join(uri, "run") == "s3://bucket/prefix/run?endpoint_override=http://host:9"
    assert join("s3://bucket", "run") == "s3://bucket/run"
    assert join("file:///srv/runs", "a/b.png") == "file:///srv/runs/a/b.png"
    assert join(Path("runs"), "run") == Path("runs/run")
    assert last_part(str(join(uri, "run"))) == "run"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://host/runs", "cannot use 'ftp://host/runs' as storage: Unrecognized filesystem type"),
        ("s3://bucket/x?endpoint=host", "Unexpected query parameter in S3 URI: 'endpoint'"),
        ("s3://", "must name a bucket or folder, got 's3://'"),
        ("s3://key:secret@bucket/x", "must hold no password"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_refused(uri, says):
    with pytest.raises(UserError, match=says.replace("?", r"\?")) as refused:
        connect(uri)
    assert refused.value.exit_code == 2
    assert "secret" not in str(refused.value)


def test_an_s3_filesystem_stays_patient_where_a_worker_unpickles_it(s3):
    filesystem, path = connect(s3.uri("pickled"))
    there = pickle.loads(pickle.dumps(patient(filesystem)))
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
    told = f"cannot write s3://bucket/x.*{says}.*choose another --storage"
    with pytest.raises(StorageError, match=told) as no:
        check_writable(s3.uri("x"))
    assert time.monotonic() - begun < 30
    assert "\n" not in str(no.value)


def test_a_bucket_or_server_that_is_not_there_is_told_in_one_line(s3):
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET.*The specified bucket does not exist; choose"):
        check_writable(s3.uri("x").replace(BUCKET, "nobucket"))
    with pytest.raises(StorageError, match="cannot write s3://bucket/x.*Could not connect to server"):
        check_writable(f"s3://{BUCKET}/x?endpoint_override=http://127.0.0.1:1")
