"""An S3 server for tests: moto's, over HTTP, with a count of its requests, and faults if a test wants any."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pyarrow import fs
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
SLOW_DOWN = ("503 Slow Down", "SlowDown")
INTERNAL_ERROR = ("500 Internal Server Error", "InternalError")
ACCESS_DENIED = ("403 Forbidden", "AccessDenied")
NO_SUCH_BUCKET = ("404 Not Found", "NoSuchBucket")
EXPIRED = ("400 Bad Request", "ExpiredToken")
SILENCE = ("", "")
"""The server takes the request and says nothing, until the client has lost its patience."""

Fault = tuple[str, str]


@dataclass
class S3Server:
    """A running server with one bucket, `BUCKET`."""

    url: str
    requests: Counter[str] = field(default_factory=Counter)
    """Requests by method."""
    fault: Callable[[str, str, str], Fault | None] = lambda method, path, query: None
    """What becomes of a request, given its method, path and query; None: it is served."""
    silence_s: float = 6.0

    def serve(self) -> None:
        """Serve all requests again."""
        self.fault = lambda method, path, query: None

    def uri(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint_override={self.url}"

    @property
    def filesystem(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(endpoint_override=self.url, allow_bucket_creation=True)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the objects under a prefix."""
        selector = fs.FileSelector(f"{BUCKET}/{prefix}", recursive=True, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(i.path.removeprefix(f"{BUCKET}/") for i in found if i.type == fs.FileType.File)

    def read(self, key: str) -> bytes:
        with self.filesystem.open_input_stream(f"{BUCKET}/{key}") as stream:
            return stream.read()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server in this process; credentials are in the environment, for child processes too."""
    served = DomainDispatcherApplication(create_backend_app)
    state = S3Server("")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        state.requests[method] += 1
        fault = state.fault(method, path, environ.get("QUERY_STRING", ""))
        if fault is None:
            return served(environ, start_response)
        if fault == SILENCE:
            time.sleep(state.silence_s)
        status, code = fault if fault != SILENCE else INTERNAL_ERROR
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start_response(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
        return [] if method == "HEAD" else [body]

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    credentials = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with mock.patch.dict(os.environ, credentials):
            state.filesystem.create_dir(BUCKET)
            yield state
    finally:
        server.shutdown()
