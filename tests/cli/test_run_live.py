"""`hgedge run` by the program: people who are followed, live streams, pipes, the preview, a disk that fills."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import hgedge
from hgedge.sinks.video import MIN_FREE_BYTES
from tests.sources.conftest import Client, Server, jpeg

cv2 = pytest.importorskip("cv2")

ROUNDING_PX = 0.0051  # of JSON lines
FPS = 50
FRAMES = 24  # of a video that is looked at
WALKERS = ([600, 165, 663, 342], [757, 172, 905, 525])  # two of those in street_walk


@pytest.fixture(scope="module")
def default(tmp_path_factory, program_environment) -> Path:
    """The default model in INT8."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    folder = tmp_path_factory.mktemp("default")
    command = [sys.executable, "-m", "hgedge", "build", "--backend", "openvino", "--json", "-q"]
    done = subprocess.run(command, cwd=folder, env=program_environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / json.loads(done.stdout)["bundle"]


@pytest.fixture
def started(tmp_path, program_environment) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """started("--source", ...): `hgedge run` on its way, ended at the latest when the test is."""
    processes = []

    def start(*arguments: str | Path, **streams) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hgedge", "run", "--no-window", *map(str, arguments)]
        settings = {"cwd": tmp_path, "env": program_environment, "text": True, "stderr": subprocess.PIPE, **streams}
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, **settings))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """serve(*scripts): an HTTP server on loopback; see `tests/sources/conftest.py`."""
    servers: list[Server] = []

    def start(*scripts: Callable[[Client], None]) -> Server:
        servers.append(Server(scripts, 0))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def moving(count: int | None) -> Callable[[Client], None]:
    """A camera that is cut off after so many pictures, or never."""

    def script(client: Client) -> None:
        client.begin()
        sent = 0
        while sent != count and not client.server.over.is_set():
            client.send(jpeg(sent % 4096))
            sent += 1
            time.sleep(1 / FPS)

    return script


def keypoints_of(lines: str) -> np.ndarray:
    return np.array(
        [[joint[:2] for joint in json.loads(line)["people"][0]["keypoints"]] for line in lines.splitlines()]
    )


def middle_of(person: dict) -> np.ndarray:
    return np.median(np.array(person["keypoints"])[:, :2], axis=0)


def num_frames(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.fixture
def hgedge_run(tmp_path, program_environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    """hgedge_run("--source", ...): `hgedge run`, which ends well."""

    def run(*arguments: str | Path, **streams) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hgedge", "run", "--no-window", "-q", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, **streams)
        assert (done.returncode, done.stderr) == (0, b"" if isinstance(done.stderr, bytes) else ""), done.stderr
        return done

    return lambda *arguments, **streams: run(*arguments, **{"text": True, **streams})


def test_python_gives_what_the_command_gives(hgedge_run, default: Path, shared_data: Path) -> None:
    video = shared_data / "videos" / "juggle_247f.mp4"
    command = ("--source", video, "--engine", default, "--jsonl", "-", "--limit-frames", str(FRAMES))
    raw, smooth = (keypoints_of(hgedge_run(*command, *more).stdout) for more in ((), ("--smooth",)))
    with hgedge.load(default) as engine:
        streams = [itertools.islice(engine.stream(video, smooth=wanted), FRAMES) for wanted in (None, True)]
        frames, streamed, smoothed = zip(*((frame, one, two) for (frame, one), (_, two) in zip(*streams)))
        called = [engine(frame) for frame in frames]
    for found, poses in ((raw, called), (raw, streamed), (smooth, smoothed)):
        np.testing.assert_allclose(found, [pose.keypoints for (pose,) in poses], atol=ROUNDING_PX)
    steps = [np.abs(np.diff(points, axis=0)).mean() for points in (smooth, raw)]
    assert raw.shape == (FRAMES, 14, 2) and steps[0] < 0.7 * steps[1]


def test_two_people_keep_their_ids(hgedge_run, default: Path, shared_data: Path, tmp_path: Path) -> None:
    boxes = [{"frame": index, "box_xyxy": box} for index in range(5) for box in WALKERS]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    video = shared_data / "videos" / "street_walk_5f.mp4"
    options = ("--people", "boxes:boxes.json", "--save", "out.mp4", "--jsonl", "-")
    done = hgedge_run("--source", video, "--engine", default, *options)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [[person["id"] for person in line["people"]] for line in lines] == [[0, 1]] * 5
    assert list(lines[0]["latency_ms"]) == ["capture", "people", "preprocess", "infer", "decode", "track", "total"]
    where = [{person["id"]: middle_of(person) for person in line["people"]} for line in lines]
    order = sorted((0, 1), key=lambda track: where[0][track][0])
    for middles in where:
        for track, (left, top, right, bottom) in zip(order, WALKERS):
            assert left < middles[track][0] < right and top < middles[track][1] < bottom
    assert num_frames(tmp_path / "out.mp4") == 5


def test_people_of_pictures_are_counted_from_0_in_each(
    hgedge_run, bundle: Path, astronaut: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "in" / name).write_bytes(astronaut.read_bytes())
    rows = ["image,left,top,right,bottom", "a.jpg,0,0,200,200", "a.jpg,200,0,400,200", "c.jpg,9,9,300,300"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    options = ("--people", "boxes:boxes.csv", "--jsonl", "-", "--coco", "out.json", "--save", "out")
    done = hgedge_run("--source", "in", "--engine", bundle, *options)
    people = [[person["id"] for person in json.loads(line)["people"]] for line in done.stdout.splitlines()]
    assert people == [[0, 1], [], [0]]
    assert [result["image_id"] for result in json.loads((tmp_path / "out.json").read_text())] == [0, 0, 2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_stream_that_is_cut_comes_back_and_nothing_is_lost(started, serve, bundle: Path, tmp_path: Path) -> None:
    server = serve(moving(15), moving(None))
    run = started("--source", server.url, "--engine", bundle, "--save", "out.mp4", "--jsonl", "-")
    lines = []
    while server.clients < 2 or len(lines) < 30:
        lines.append(json.loads(run.stdout.readline()))
    run.send_signal(signal.SIGINT)
    rest = run.stdout.read()  # what readline() read ahead, too, which communicate() drops
    _, errors = run.communicate()
    lines += map(json.loads, rest.splitlines())
    assert run.returncode == 0, errors
    assert num_frames(tmp_path / "out.mp4") == len(lines)
    indices, times = ([line[name] for line in lines] for name in ("frame", "timestamp_s"))
    assert indices == sorted(set(indices)) and times == sorted(set(times))
    assert "trying again in 0.5 s" in errors and "is back after" in errors
    dropped = int(re.search(r"dropped: (\d+)", errors)[1])
    assert indices[-1] + 1 - len(lines) <= dropped


def test_a_signal_ends_it_while_a_stream_stalls(started, serve, bundle: Path, tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.begin()
        for number in range(3):
            client.send(jpeg(number))
            time.sleep(0.2)
        client.hold()

    run = started("--source", serve(script).url, "--engine", bundle, "--save", "out.avi", "--jsonl", "-")
    first = run.stdout.readline()
    run.send_signal(signal.SIGTERM)
    rest = run.stdout.read()  # what readline() read ahead, too, which communicate() drops
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert num_frames(tmp_path / "out.avi") == len([first, *rest.splitlines()]) <= 3


def test_raw_frames_on_standard_input(hgedge_run, bundle: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 64), np.uint8).tobytes()
    options = ("--source", "-", "--raw", "64x48:gray:25", "--engine", bundle, "--jsonl", "-")
    done = hgedge_run(*options, input=frames, text=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["timestamp_s"] for line in lines] == [0.0, 0.04, 0.08, 0.12]
    assert lines[0]["people"][0]["box_xyxy"] == [-0.5, -0.5, 63.5, 47.5]


@pytest.mark.parametrize("text", ["640", "640x", "640x480:bgr:30:1", "axb"])
def test_raw_formats_that_are_none(hgedge, text: str) -> None:
    done = hgedge("run", "--source", "-", "--raw", text)
    assert done.returncode == 2 and "--raw must be WIDTHxHEIGHT[:PIXELS[:FPS]], such as 640x480:bgr:30" in done.stderr


def test_the_preview_shows_the_run(started, serve, bundle: Path) -> None:
    pytest.importorskip("tornado", reason="needs a server: pip install 'hgedge[preview]'")
    run = started("--source", serve(moving(None)).url, "--engine", bundle, "--preview", "127.0.0.1:0")
    address = next(line.split()[1] for line in iter(run.stderr.readline, "") if line.startswith("preview: http"))
    status = {"frames": 0}
    while status["frames"] < 5:
        with urllib.request.urlopen(f"{address}status.json") as answer:
            status = json.load(answer)
    assert status["state"] == "live" and status["about"]["model"]["name"] == "tiny" and len(status["people"]) == 1
    with urllib.request.urlopen(f"{address}snapshot.jpg") as answer:
        assert cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR).shape == (64, 192, 3)
    run.send_signal(signal.SIGINT)
    assert run.communicate()[0] == "" and run.returncode == 0


def test_a_port_that_is_taken(hgedge, bundle: Path, astronaut: Path, tmp_path: Path) -> None:
    pytest.importorskip("tornado", reason="needs a server: pip install 'hgedge[preview]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        targets = ("--save", "out.jpg", "--jsonl", "out.jsonl")
        done = hgedge("run", "--source", astronaut, "--engine", bundle, "--preview", address, *targets, "-q")
    assert done.returncode == 2 and f"cannot listen on {address}: another program has the port" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_preview_for_everyone_needs_a_token(hgedge, bundle: Path, astronaut: Path) -> None:
    pytest.importorskip("tornado", reason="needs a server: pip install 'hgedge[preview]'")
    done = hgedge("run", "--source", astronaut, "--engine", bundle, "--preview", "0.0.0.0:0", "-q")
    assert done.returncode == 2 and "--preview-token" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_disk_that_fills_ends_it_without_a_broken_file(hgedge, bundle: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 240, 320, 3), np.uint8)
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for image in noise:
        writer.write(image)
    writer.release()
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MIN_FREE_BYTES + (1 << 20)}", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        targets = ("--save", "disk/out.avi", "--jsonl", "out.jsonl", "-q")
        done = hgedge("run", "--source", "in.avi", "--engine", bundle, *targets)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert "disk/out.avi cannot be written on: its disk is full but for" in done.stderr
        assert list(disk.iterdir()) == []
        assert 5 < len((tmp_path / "out.jsonl").read_text().splitlines()) < 80
    finally:
        subprocess.run(["umount", str(disk)], check=True)
