"""Container logs in CRI format."""

from __future__ import annotations

import re
from pathlib import Path

from cockpit.sim.kubelet.logs import PARTIAL_BYTES, CriLog
from tests.sim.kubelet.worlds import World, pod, until


def test_lines_are_cri_records_in_rising_order(tmp_path: Path) -> None:
    log = CriLog(tmp_path / "0.log")
    log.feed("stdout", b"one\ntw")
    log.feed("stderr", b"err\n")
    log.feed("stdout", b"o\nunfinished")
    log.close()
    lines = (tmp_path / "0.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["stdout F one", "stderr F err", "stdout F two", "stdout F unfinished"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line.split()[0]) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.split()[0])


def test_long_lines_are_partial_and_bytes_stay(tmp_path: Path) -> None:
    log = CriLog(tmp_path / "0.log")
    log.feed("stdout", b"\xff" * (2 * PARTIAL_BYTES + 5) + b"\n\x1b[31m\n")
    log.close()
    records = (tmp_path / "0.log").read_bytes().splitlines()
    assert [(record.split(b" ", 3)[2], len(record.split(b" ", 3)[3])) for record in records] == [
        (b"P", PARTIAL_BYTES), (b"P", PARTIAL_BYTES), (b"F", 5), (b"F", 5),
    ]  # fmt: skip
    assert records[3].endswith(b"\x1b[31m")


def test_the_file_is_bounded(tmp_path: Path) -> None:
    log = CriLog(tmp_path / "0.log", rotate_bytes=1000)
    for number in range(100):
        log.line(f"line {number}")
    log.close()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2 and max(sizes) <= 1000
    assert (tmp_path / "0.log").read_text().splitlines()[-1].endswith("line 99")


async def test_a_megabyte_without_newline_and_a_broken_line(world: World) -> None:
    script = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n' + b'x' * (1 << 20)); sys.stdout.flush()"
    world.create(pod("hostile", "python", "-c", script))
    await world.phase("hostile", "Succeeded")
    path = world.kubelet.log_path("default", "hostile", "main")
    assert path is not None
    records = path.read_bytes().splitlines()
    assert records[0].endswith(b" stdout F \xff\xfe")
    assert sum(len(record.split(b" ", 3)[3]) for record in records[1:]) == 1 << 20


async def test_log_path_is_none_before_the_start(world: World) -> None:
    world.create(pod("waits", "true", image="registry.example/does-not-exist:1"))
    await until(lambda: world.state("waits").get("waiting", {}).get("reason") == "ImagePullBackOff", "pull fails")
    assert world.kubelet.log_path("default", "waits", "main") is None
    assert world.kubelet.log_path("default", "nobody", "main") is None
    assert world.kubelet.log_path("default", "waits", "main", previous=True) is None
