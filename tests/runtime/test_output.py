"""What a run writes to the file descriptors 1 and 2 is limited while it runs."""

import os

from tidegate.runtime.log import MOST_LINES, RunLog
from tidegate.runtime.output import FIRST_PART, LAST_PART, RunOutput


def test_a_little_output_is_kept_as_it_is(tmp_path):
    output = RunOutput()
    output.add(b"a\n")
    output.add(b"b")
    output.write_to(tmp_path / "output.txt")
    assert (tmp_path / "output.txt").read_bytes() == b"a\nb"
    assert output.dropped == 0


def test_nothing_makes_no_file(tmp_path):
    RunOutput().write_to(tmp_path / "output.txt")
    assert not (tmp_path / "output.txt").exists()


def test_of_much_output_the_first_and_the_last_part_are_kept():
    output = RunOutput()
    output.add(b"first")
    for _ in range(100):
        output.add(b"x" * 100_000)
    output.add(b"last")
    content = output.content()
    assert content.startswith(b"first")
    assert content.endswith(b"last")
    assert output.dropped == 10_000_009 - FIRST_PART - LAST_PART
    assert f"[{output.dropped} bytes of output are left out here]".encode() in content


def test_draining_ends_although_somebody_goes_on_writing():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"there")
    output = RunOutput()
    output.drain(reading)
    assert output.content() == b"there"
    os.close(writing)
    assert not output.read(reading)
    os.close(reading)


def test_of_many_short_lines_the_last_is_in_the_log_too(tmp_path):
    (tmp_path / "output.txt").write_text("first\n" + "y\n" * 100_000 + "last\n")
    log = RunLog(tmp_path / "log.jsonl", {})
    log.absorb(tmp_path / "output.txt")
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert "first" in lines[0]
    assert "last" in lines[-1]
    assert len(lines) == MOST_LINES + 1
