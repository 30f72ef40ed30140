"""Failures reach people: a real service, a real pipeline, a real web server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from service_workspace import config, csv, ingest, make

pytestmark = [
    pytest.mark.slow,
    # Apprise imports modules that Python 3.13 has no more, where they are there.
    pytest.mark.filterwarnings("ignore:.*imghdr"),
]


@pytest.fixture
def hook():
    """A server that keeps what is posted to it."""
    received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"json://127.0.0.1:{server.server_address[1]}/", received
        server.shutdown()
        thread.join()


def test_failures_of_one_service_are_one_message(tmp_path, hook):
    address, received = hook
    place = make(tmp_path / "workspace")
    (place.root / "hook.txt").write_text(address)
    place.configure(
        config(ingest("one"), defaults="settle: 0") + "notify: {to: ['file:hook.txt']}\n"
    )
    for number in range(3):
        place.put(f"tiny/one/bad{number}.csv", "when,what\n1,2\n")
    place.put("tiny/one/good.csv", csv())
    place.tidegate("up", "--once", code=1)
    [message] = received
    assert "3 failed runs" in message["title"]
    assert "bad0.csv" in message["message"]
    assert "tidegate runs --failed" in message["message"]
