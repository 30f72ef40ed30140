"""Messages to people: grouped, limited in rate, and sent to a real web server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tidegate.cli import main
from tidegate.config import read
from tidegate.errors import ConfigurationError
from tidegate.notify import Notifications, Notifier, load_channels
from tidegate.runtime.notices.digest import GATHER, Digest, Message
from tidegate.runtime.notices.notice import KINDS, Notice
from tidegate.runtime.notices.outbox import Group
from tidegate.runtime.open_failures import acknowledge
from tidegate.runtime.runs import Failure, Input, Product, Run, RunRecord
from tidegate.runtime.testing import MemoryLedger
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import LoadedWorkspace, load_without_tsdat

# Apprise imports modules that Python 3.13 has no more, where they are there.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:imghdr", "ignore:.*imghdr")

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
CONFIG = """\
notify:
  to: [{to}]
pipelines:
- name: lidar
  type: Ingest
  trigger: S3
  configs:
    humboldt:
      input_bucket_path: lidar/humboldt/
      config_file_path: pipelines/lidar/config/pipeline.yaml
"""


def failure(number: int = 1, at: datetime = NOW) -> Notice:
    return Notice("failure", "lidar/humboldt", f"file {number} is corrupt", at, f"file{number}")


# --- when


def test_a_burst_of_failures_is_one_message() -> None:
    digest = Digest("station", HOUR)
    for number in range(100):
        digest.add(failure(number))
    assert not digest.due(NOW), "others may follow in the same moment"
    assert digest.due(NOW + GATHER)
    message = digest.message()
    assert "100 failed runs" in message.title
    assert "lidar/humboldt" in message.title
    assert message.body.count("is corrupt") == 5
    assert "and 95 more failed runs" in message.body


def test_the_next_message_waits() -> None:
    digest = Digest("station", HOUR)
    digest.sent(NOW)
    digest.add(failure(at=NOW + GATHER))
    assert not digest.due(NOW + HOUR / 2)
    assert digest.due(NOW + HOUR)
    digest.sent(NOW + HOUR)
    assert not digest.due(NOW + 5 * HOUR), "nothing waits"


def test_nothing_is_sent_in_quiet_hours_and_nothing_is_lost() -> None:
    config = read_config_text("quiet: '22:00-06:00'")
    assert config.problems == ()
    quiet = (time(22), time(6))
    digest = Digest("station", HOUR, quiet)
    digest.add(failure(at=NOW.replace(hour=22)))
    for hour in (22, 23):
        assert not digest.due(NOW.replace(hour=hour, minute=5))
    tomorrow = NOW + timedelta(days=1)
    assert not digest.due(tomorrow.replace(hour=5, minute=59))
    assert digest.due(tomorrow.replace(hour=6))


def test_a_flood_keeps_its_count() -> None:
    digest = Digest("station", HOUR)
    for number in range(2500):
        digest.add(failure(number))
    assert len(digest.waiting) == 1000
    assert "2500 failed runs" in digest.message().title


# --- who gets which message


def record(state: str, name: str = "a.csv") -> RunRecord:
    run = Run("lidar/humboldt", inputs=(Input(f"lidar/{name}", "1", 1),))
    reason = Failure("bad-input", "no header line", next="look at the file")
    failed = reason if state == "failed" else None
    return RunRecord(run, state, 1, 1, NOW, "owner", failure=failed)  # type: ignore[arg-type]


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def notifier(
    sent: list[Message], clock: Clock, keep: MemoryLedger | None = None, name: str = "all"
) -> Notifier:
    def send(message: Message) -> tuple[str, ...]:
        sent.append(message)
        return ()

    group = Group(Digest("station", HOUR), frozenset(KINDS))
    return Notifier({name: (group, send)}, lambda config: name, keep=keep, now=clock)


def test_recovery_is_sent_to_those_who_had_the_failure() -> None:
    sent: list[Message] = []
    clock = Clock()
    tested = notifier(sent, clock)
    tested.record(record("failed"))
    clock.now += GATHER
    tested.send_due()
    assert [message.title for message in sent] == ["Tidegate, lidar/humboldt: 1 failed run"]
    assert "look at the file" in sent[0].body
    tested.record(record("succeeded"))
    clock.now += HOUR
    tested.send_due()
    assert "recovery" in sent[1].title


def test_what_was_not_sent_has_no_recovery() -> None:
    sent: list[Message] = []
    clock = Clock()
    tested = notifier(sent, clock)
    tested.record(record("failed"))
    tested.record(record("succeeded"))
    tested.record(record("succeeded", "b.csv"))
    clock.now += 2 * HOUR
    tested.send_due()
    assert sent == []


def test_a_restart_forgets_nothing() -> None:
    ledger, clock = MemoryLedger(), Clock()
    sent: list[Message] = []
    first = notifier(sent, clock, ledger)
    first.record(record("failed"))
    clock.now += GATHER
    first.send_due()
    first.record(record("failed", "b.csv"))
    first.close()
    second = notifier(sent, clock, ledger)
    clock.now += HOUR / 2
    second.send_due()
    assert len(sent) == 1, "the pause is over only after an hour"
    clock.now += HOUR
    second.send_due()
    assert "b.csv" in sent[1].body
    second.record(record("succeeded"))
    second.record(record("succeeded", "b.csv"))
    clock.now += HOUR
    second.send_due()
    assert "1 recovery" in sent[2].title


def test_what_is_kept_goes_to_the_recipients_that_a_changed_config_names() -> None:
    ledger, clock = MemoryLedger(), Clock()
    before: list[Message] = []
    after: list[Message] = []
    first = notifier(before, clock, ledger, "before")
    first.record(record("failed"))
    clock.now += GATHER
    first.send_due()
    first.record(record("failed", "b.csv"))
    first.close()
    assert len(before) == 1
    second = notifier(after, clock, ledger, "after")
    clock.now += GATHER
    second.send_due()
    assert "b.csv" in after[0].body
    second.record(record("succeeded"))
    second.record(record("succeeded", "b.csv"))
    clock.now += HOUR
    second.send_due()
    assert "1 recovery" in after[1].title


def test_a_running_service_uses_a_changed_notify(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path)
    file, said = tmp_path / "pipelines_config.yml", []
    monkeypatch.setenv("HOOK", address(server))

    def loaded(text: str) -> LoadedWorkspace:
        file.write_text(text)
        return load_without_tsdat(Workspace.at(tmp_path))

    without = CONFIG[CONFIG.index("pipelines:") :]
    with Notifications(loaded(without), said.append) as tested:
        tested.record(record("failed", "nobody is interested"))
        tested.use(loaded(CONFIG.format(to="HOOK")))
        tested.record(record("failed", "a.csv"))
        tested.use(loaded(CONFIG.format(to="MISSING")))  # the settings before are kept
        tested.record(record("failed", "b.csv"))
        tested.use(loaded(CONFIG.format(to="HOOK")))
    [message] = server.received  # type: ignore[attr-defined]
    assert "2 failed runs" in message["title"]
    assert ["cannot be used" in text for text in said] == [False, True]


def fail(ledger: MemoryLedger, name: str, at: datetime) -> RunRecord:
    """A failed run that is on record, as those of a service are."""
    run = Run("lidar/humboldt", inputs=(Input(f"lidar/{name}", "1", 1),))
    claim = ledger.claim(run, owner="me", lease=HOUR, now=at, release="")
    assert claim.record is not None
    failed = replace(claim.record, state="failed", failure=Failure("bad-input", "no header"))
    ledger.finish(failed)
    return failed


def test_an_acknowledged_failure_is_not_sent_and_does_not_hold_up_recovery() -> None:
    ledger, clock = MemoryLedger(), Clock()
    sent: list[Message] = []
    tested = notifier(sent, clock, ledger)
    first, second = fail(ledger, "a.csv", clock.now), fail(ledger, "b.csv", clock.now)
    tested.record(first)
    clock.now += GATHER
    tested.send_due()
    tested.record(second)
    acknowledge(ledger, second.key, "me", clock.now)
    clock.now += 2 * HOUR
    tested.send_due()
    assert len(sent) == 1, "nobody needs to hear of b.csv"
    acknowledge(ledger, first.key, "me", clock.now)
    tested.record(record("succeeded", "c.csv"))
    clock.now += GATHER
    tested.send_due()
    assert "recovery" in sent[1].title


def test_a_message_that_is_not_taken_is_sent_again() -> None:
    answers, sent, said = [("MAIL",), ()], [], []
    clock = Clock()

    def send(message: Message) -> tuple[str, ...]:
        sent.append(message)
        return answers.pop(0)

    group = Group(Digest("station", HOUR), frozenset(KINDS))
    tested = Notifier({"all": (group, send)}, lambda config: "all", say=said.append, now=clock)
    tested.record(record("failed"))
    for _ in range(3):
        clock.now += HOUR
        tested.send_due()
    assert len(sent) == 2
    assert said == ["a notification could not be sent to MAIL"]


# --- addresses


class Received(BaseHTTPRequestHandler):
    """Keeps what is posted, and answers with the server's status."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Received) as found:
        found.received, found.status = [], 200  # type: ignore[attr-defined]
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def address(server: HTTPServer) -> str:
    return f"json://user:top-secret@127.0.0.1:{server.server_address[1]}/hook"


def test_the_test_message_arrives(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG.format(to="STATION_HOOK"))
    make_repository(tmp_path)
    monkeypatch.setenv("STATION_HOOK", f"# mine\n{address(server)}\n")
    assert main(["notify", "test", str(tmp_path)]) == 0
    [received] = server.received  # type: ignore[attr-defined]
    assert "test" in received["message"]
    server.status = 500  # type: ignore[attr-defined]
    assert main(["notify", "test", str(tmp_path), "--json"]) == 1
    shown = capsys.readouterr()
    assert "STATION_HOOK" in shown.out
    assert "top-secret" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("source", "content"),
    [("MISSING", None), ("file:missing.txt", None), ("EMPTY", " \n# none"), ("WRONG", "secret?!")],
)
def test_addresses_that_cannot_be_used(source: str, content: str | None, tmp_path: Path) -> None:
    variables = {} if content is None else {source: content}
    with pytest.raises(ConfigurationError) as raised:
        load_channels([source], tmp_path, variables)
    assert raised.value.next
    assert "secret?!" not in str(raised.value), "an address may hold a password"


def test_addresses_in_a_file(server: HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "hooks.txt").write_text(address(server))
    channels = load_channels(["file:hooks.txt"], tmp_path, {})
    assert channels.send(Message("title", "body")) == ()
    assert server.received[0]["title"] == "title"  # type: ignore[attr-defined]


# --- the config


def make_repository(folder: Path) -> None:
    file = folder / "pipelines" / "pipelines" / "lidar" / "config" / "pipeline.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("classname: tsdat.IngestPipeline\n")


def read_config_text(line: str, folder: Path | None = None):  # type: ignore[no-untyped-def]
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "pipelines_config.yml"
        text = CONFIG.format(to="HOOK").replace("pipelines:\n", f"  {line}\npipelines:\n", 1)
        file.write_text(text)
        return read(file, files=False)


@pytest.mark.parametrize(
    "line",
    ["quiet: 25:00-06:00", "on: [failures]", "at_most_every: soon", "too: [X]"],
)
def test_wrong_keys_are_problems_with_their_line(line: str) -> None:
    [problem] = read_config_text(line).problems
    assert problem.line in (1, 3)
    assert problem.fix


def test_an_address_in_the_config_is_refused_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "pipelines_config.yml"
    file.write_text(CONFIG.format(to="'mailto://me:top-secret@example.org'"))
    [problem] = read(file, files=False).problems
    assert "top-secret" not in str(problem)
    assert problem.line == 2


def test_an_empty_variable_is_reported() -> None:
    digest = Digest("station", HOUR)
    group = Group(digest, frozenset({"empty"}))
    notifier = Notifier({"all": (group, lambda message: ())}, lambda config: "all", now=lambda: NOW)
    run = Run("lidar/humboldt", inputs=(Input("lidar/humboldt/a.csv", "1", 1),))
    product = Product("a.nc", "data", 1, "x", valid={"wind": 0.0}, empty=("wind",))
    notifier.record(RunRecord(run, "succeeded", 1, NOW, products=(product,)))
    (notice,) = digest.waiting
    assert (notice.kind, notice.config) == ("empty", "lidar/humboldt")
    assert "wind" in notice.text
