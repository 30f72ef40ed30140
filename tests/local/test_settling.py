"""When a file has come to rest, with the clock in the test's hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.targets.local.settling import Settling, Stamp

SETTLE = {"quick": 0.0, "short": 0.5, "long": 3.0, "usual": 2.0}


class Disk(dict[str, Stamp]):
    """Files that are not there."""

    def look(self, key: str) -> Stamp | None:
        return self.get(key)

    def write(self, key: str) -> Stamp:
        before = self.get(key, Stamp(0, 0))
        self[key] = Stamp(before.size + 1, before.mtime_ns + 1)
        return self[key]


def settling() -> Settling:
    return Settling(lambda key: SETTLE.get(key, 2.0))


def test_a_file_is_ready_once_it_has_rested() -> None:
    disk, rest = Disk(), settling()
    rest.changed("usual", disk.write("usual"), 10.0)
    assert rest.next_deadline() == 12.0
    assert rest.ready(11.9, disk.look) == []
    assert rest.ready(12.0, disk.look) == ["usual"]
    assert rest.ready(99.0, disk.look) == []
    assert len(rest) == 0


def test_each_change_begins_the_rest_anew() -> None:
    disk, rest = Disk(), settling()
    for now in (0.0, 1.5, 3.0):
        rest.changed("usual", disk.write("usual"), now)
    assert rest.ready(4.9, disk.look) == []
    assert rest.ready(5.0, disk.look) == ["usual"]


def test_a_change_that_nobody_told_of_begins_the_rest_anew() -> None:
    disk, rest = Disk(), settling()
    rest.changed("usual", disk.write("usual"), 0.0)
    disk.write("usual")
    assert rest.ready(2.0, disk.look) == []
    assert rest.next_deadline() == 4.0
    assert rest.ready(4.0, disk.look) == ["usual"]


def test_a_file_renamed_into_place_is_ready_at_once_even_if_it_was_resting() -> None:
    disk, rest = Disk(), settling()
    rest.changed("long", disk.write("long"), 0.0)
    disk.write("long")
    rest.moved("long", 1.0)
    assert rest.ready(1.0, disk.look) == ["long"]


def test_a_file_written_to_after_its_rename_must_rest() -> None:
    disk, rest = Disk(), settling()
    disk.write("usual")
    rest.moved("usual", 0.0)
    rest.changed("usual", disk.write("usual"), 0.0)
    assert rest.ready(1.0, disk.look) == []
    assert rest.ready(2.0, disk.look) == ["usual"]


def test_rest_that_is_known_to_be_over_counts() -> None:
    disk, rest = Disk(), settling()
    rest.changed("usual", disk.write("usual"), 100.0, rested=1.5)
    rest.changed("long", disk.write("long"), 100.0, rested=3600.0)
    rest.changed("short", disk.write("short"), 100.0, rested=-3600.0)
    assert rest.ready(100.0, disk.look) == ["long"]
    assert sorted(rest.ready(100.5, disk.look)) == ["short", "usual"]


def test_gone_files_are_forgotten() -> None:
    disk, rest = Disk(), settling()
    rest.changed("usual", disk.write("usual"), 0.0)
    rest.changed("short", disk.write("short"), 0.0)
    rest.gone("usual")
    del disk["short"]
    assert rest.ready(9.0, disk.look) == []
    assert len(rest) == 0


def test_a_file_that_came_back_by_rename_does_not_wait_for_its_old_deadline() -> None:
    disk, rest = Disk(), settling()
    rest.changed("long", disk.write("long"), 0.0)
    rest.gone("long")
    rest.moved("long", 1.0)
    assert rest.next_deadline() == 1.0
    assert rest.ready(1.0, disk.look) == ["long"]


def test_without_settling_a_file_that_keeps_changing_is_ready() -> None:
    rest = settling()
    rest.changed("quick", Stamp(1, 1), 0.0)
    assert rest.ready(0.0, lambda key: Stamp(2, 2)) == ["quick"]


def test_a_file_written_to_for_long_takes_no_more_room_for_it() -> None:
    disk, rest = Disk(), settling()
    for step in range(5000):
        rest.changed("usual", disk.write("usual"), step * 0.01)
        rest.ready(step * 0.01, disk.look)
    assert len(rest._heap) <= 2


steps = st.lists(
    st.tuples(
        st.sampled_from(sorted(SETTLE)),
        st.sampled_from(["write", "write unseen", "move", "delete", "wait"]),
        st.floats(0, 4),
    ),
    max_size=60,
)


@given(steps)
def test_none_is_lost_and_none_is_ready_too_early(steps: list[tuple[str, str, float]]) -> None:
    disk, rest = Disk(), settling()
    now = 0.0
    written: dict[str, float] = {}
    told: dict[str, Stamp] = {}
    for key, action, pause in [*steps, ("usual", "wait", 5.0), ("usual", "wait", 5.0)]:
        now += pause
        if action == "write":
            rest.changed(key, disk.write(key), now)
            written[key] = now
        elif action == "write unseen" and key in rest:
            disk.write(key)  # seen at the latest when its rest seems to be over
        elif action == "move":
            disk.write(key)
            rest.moved(key, now)
            written[key] = now - SETTLE[key]
        elif action == "delete":
            disk.pop(key, None)
            rest.gone(key)
            told.pop(key, None)
        for ready in rest.ready(now, disk.look):
            assert now >= written[ready] + SETTLE[ready] - 1e-9
            told[ready] = disk[ready]
    assert told == disk


def test_a_file_that_never_settles_is_ready_each_max_wait() -> None:
    disk, rest = Disk(), Settling(lambda key: 2.0, lambda key: 10.0)
    ready = []
    for now in range(31):
        rest.changed("usual", disk.write("usual"), float(now))
        ready += [now for key in rest.ready(float(now), disk.look)]
    assert ready == [10, 21]  # the second wait begins with the first change after it was ready


def test_a_file_that_is_open_for_writing_is_not_ready_until_it_is_closed() -> None:
    disk, rest, still_open = Disk(), settling(), {"usual"}
    rest.changed("usual", disk.write("usual"), 0.0)
    assert rest.ready(2.0, disk.look, lambda: still_open) == []
    assert rest.next_deadline() == 4.0
    assert rest.ready(4.0, disk.look, lambda: still_open) == []
    still_open.clear()
    assert rest.ready(6.0, disk.look, lambda: still_open) == ["usual"]


def test_one_that_stays_open_is_ready_after_max_wait() -> None:
    disk, rest = Disk(), Settling(lambda key: 2.0, lambda key: 5.0)
    rest.changed("usual", disk.write("usual"), 0.0)
    assert rest.ready(4.0, disk.look, lambda: {"usual"}) == []
    assert rest.next_deadline() == 5.0
    assert rest.ready(5.0, disk.look, lambda: {"usual"}) == ["usual"]
