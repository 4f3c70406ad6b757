"""Videos that lie, each in a process of its own: whatever is in them, it ends, and says what it could not read."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")

Image = pytest.importorskip("PIL.Image", reason="needs Pillow, which comes with hgedge[bench]")

RUN = ("run", "--no-window", "--engine", "BUNDLE", "--source")
FRAMES = 20
WRITE = """
import sys, cv2
name, codec, width, height, frames, picture = sys.argv[1:]
size = (int(width), int(height))
writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*codec), 10, size)
assert writer.isOpened()
image = cv2.resize(cv2.imread(picture), size)
for index in range(int(frames)):
    writer.write(image)
    image = image[:, ::-1].copy()
writer.release()
"""


def written(path, astronaut, codec, wh=(64, 48), frames=FRAMES):
    """A video of the astronaut, who turns round in every frame; its bytes."""
    words = [path, codec, *wh, frames, astronaut]
    done = subprocess.run([sys.executable, "-c", WRITE, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this OpenCV cannot write {codec}: {done.stderr.splitlines()[-1]}")
    return path.read_bytes()


@pytest.fixture(scope="module")
def videos(tmp_path_factory, astronaut):
    """An MPEG-4 and a motion JPEG video, as bytes."""
    folder = tmp_path_factory.mktemp("videos")
    return {name: written(folder / name, astronaut, codec) for name, codec in (("a.mp4", "mp4v"), ("a.avi", "MJPG"))}


def set_at(data, marker, offset, value):
    """The bytes with others at an offset from the first appearance of a marker."""
    start = data.index(marker) + offset
    return data[:start] + value + data[start + len(value) :]


def noise_in_the_middle(data):
    start, length = len(data) * 2 // 5, len(data) // 10
    noise = np.random.default_rng(0).integers(0, 256, length, dtype=np.uint8).tobytes()
    return data[:start] + noise + data[start + length :]


GOES_ON = {  # the video, what is done to it, and the fewest frames that must come
    "no durations": ("a.mp4", lambda data: set_at(data, b"stts", 16 - 4, bytes(4)), FRAMES),
    "no time scale": ("a.mp4", lambda data: set_at(data, b"mdhd", 16, bytes(4)), 1),
    "0 fps": ("a.avi", lambda data: set_at(set_at(data, b"RIFF", 32, bytes(4)), b"strh", 28, bytes(8)), FRAMES),
    "damaged MPEG-4": ("a.mp4", noise_in_the_middle, 2),
    "damaged motion JPEG": ("a.avi", noise_in_the_middle, 2),
    "cut off": ("a.avi", lambda data: data[: len(data) * 3 // 5], 2),
    "an AVI called MP4": ("a.avi", lambda data: data, FRAMES),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_what_can_be_decoded_is_used(process, videos, tmp_path, case):
    name, damage, fewest = GOES_ON[case]
    (tmp_path / "in.mp4").write_bytes(damage(videos[name]))
    done = process(*RUN, "in.mp4", "--save", "out.mp4", "--jsonl", "out.jsonl", "-q")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert fewest <= len(lines) <= FRAMES
    times = [line["timestamp_s"] for line in lines]
    assert times == sorted(set(times)) and times[-1] < FRAMES  # 2 seconds in truth, and no time twice
    capture, saved = cv2.VideoCapture(str(tmp_path / "out.mp4")), 0
    while capture.read()[0]:
        saved += 1
    assert saved == len(lines)
    told = f"in.mp4 ended after {len(lines)} of {FRAMES} frames; the file may be damaged" in done.stderr
    assert told == (len(lines) < FRAMES) and len(done.stderr.splitlines()) == told


@pytest.mark.parametrize(("codec", "wh"), [("XVID", (64, 48)), ("mp4v", (34, 18)), ("GIF", (17, 33))])
def test_other_codecs_and_odd_sizes(process, astronaut, tmp_path, codec, wh):
    if codec == "GIF":  # OpenCV's writer makes sizes even
        frames = [Image.open(astronaut).resize(wh).rotate(90 * turn) for turn in range(FRAMES)]
        frames[0].save(tmp_path / "in.avi", "GIF", save_all=True, append_images=frames[1:], duration=100)
    else:
        written(tmp_path / "in.avi", astronaut, codec, wh)
    done = process(*RUN, "in.avi", "--save", "out.avi", "--jsonl", "out.jsonl", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    boxes = [json.loads(line)["people"][0]["box_xyxy"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert boxes == [[-0.5, -0.5, wh[0] - 0.5, wh[1] - 0.5]] * FRAMES
    picture = cv2.VideoCapture(str(tmp_path / "out.avi")).read()[1]
    assert (picture.shape[1] // 2, picture.shape[0] // 2) == (wh[0] // 2, wh[1] // 2)


def test_rotation_in_the_container_turns_the_keypoints(process, videos, tmp_path):
    turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a quarter, clockwise
    (tmp_path / "in.mp4").write_bytes(set_at(videos["a.mp4"], b"tkhd", 44, turn))
    done = process(*RUN, "in.mp4", "--jsonl", "-", "-q")
    people = [json.loads(line)["people"][0] for line in done.stdout.splitlines()]
    assert len(people) == FRAMES and people[0]["box_xyxy"] == [-0.5, -0.5, 47.5, 63.5]


def sound(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path.read_bytes()


UNREADABLE = "is not a picture or video that OpenCV can read"
REFUSED = {
    "empty": (lambda videos, path: b"", "in.mp4 is empty"),
    "junk": (lambda videos, path: b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40, UNREADABLE),
    "no index": (lambda videos, path: videos["a.mp4"][: len(videos["a.mp4"]) * 3 // 5], "check that the file is whole"),
    "the header alone": (lambda videos, path: videos["a.avi"][:4000], UNREADABLE),
    "sound alone": (lambda videos, path: sound(path), UNREADABLE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(refused, process, videos, tmp_path, case):
    content, message = REFUSED[case]
    (tmp_path / "in.mp4").write_bytes(content(videos, tmp_path / "in.mp4"))
    command = (*RUN, "in.mp4", "--save", "out.mp4", "--jsonl", "out.jsonl")
    refused(command, 2, f"in.mp4 {message}" if message is UNREADABLE else message, run=process)


@pytest.mark.parametrize("name", ["in.mp4", "in.avi"])
def test_no_frames(refused, process, astronaut, tmp_path, name):
    written(tmp_path / name, astronaut, "mp4v" if name == "in.mp4" else "MJPG", frames=0)
    refused((*RUN, name, "--save", "out.mp4"), 2, f"{name} {UNREADABLE}", run=process)


SAME = "is the source itself, which would be overwritten"
TARGETS = [  # of a video
    (("--save", "out.xyz"), "out.xyz has an extension that cannot be written"),
    (("--save", "no/out.mp4"), "no/out.mp4 cannot be written: there is no folder"),
    (("--save", "out.jpg"), "out.jpg holds one picture, but the source has 20; save into a folder (out) or a video"),
    (("--save", "in.mp4"), f"in.mp4 {SAME}"),
    (("--save", "link.mp4"), f"link.mp4 {SAME}"),
    (("--save", "./folder/../in.mp4"), SAME),
    (("--save", "old.jsonl/out.mp4"), "there is no folder"),
    (("--jsonl", "in.mp4"), f"in.mp4 {SAME}"),
    (("--jsonl", "link.mp4"), f"link.mp4 {SAME}"),
    (("--jsonl", "no/out.jsonl"), "no/out.jsonl cannot be written"),
    (("--jsonl", "folder"), "folder cannot be written: Is a directory"),
    (("--jsonl", "/dev/full"), "/dev/full cannot be written: No space left on device"),
    (("--jsonl", "out.mp4", "--save", "out.mp4"), "out.mp4 cannot hold what both --save and --jsonl write"),
    (("--jsonl", "folder/../out.mp4", "--save", "out.mp4"), "cannot hold what both --save and --jsonl write"),
    (("--jsonl", "old.jsonl", "--save", "out.xyz"), "out.xyz has an extension"),  # what is there stays
]


@pytest.mark.parametrize(("options", "message"), TARGETS, ids=lambda value: "-".join(value) if value else None)
def test_where_results_cannot_go(refused, videos, tmp_path, options, message):
    (tmp_path / "in.mp4").write_bytes(videos["a.mp4"])
    (tmp_path / "link.mp4").symlink_to("in.mp4")
    (tmp_path / "old.jsonl").write_text("{}\n")
    (tmp_path / "folder").mkdir()
    refused((*RUN, "in.mp4", *options), 2, message)


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.jpg", "a.jpg"), ("a.jpg", "."), ("one", "one"), ("one", "one/b.jpg"), ("one/*.jpg", "one/b.jpg")],
)
def test_a_picture_is_not_written_over_itself(refused, astronaut, tmp_path, source, target):
    (tmp_path / "one").mkdir()
    for name in ("a.jpg", "one/b.jpg"):
        (tmp_path / name).write_bytes(astronaut.read_bytes())
    refused((*RUN, source, "--save", target), 2, f"{target} {SAME}")
    if target.endswith("jpg"):
        refused((*RUN, source, "--jsonl", target), 2, f"{target} {SAME}")


def test_one_pixel_cannot_be_saved_as_a_video(refused, process, astronaut, tmp_path):
    written(tmp_path / "in.avi", astronaut, "MJPG", (1, 1))
    command = (*RUN, "in.avi", "--save", "out.mp4", "--jsonl", "out.jsonl")
    refused(command, 2, "out.mp4 cannot hold frames of 1 x 1 pixels", run=process)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_video_that_may_not_be_read(refused, videos, tmp_path):
    (tmp_path / "in.mp4").write_bytes(videos["a.mp4"])
    (tmp_path / "in.mp4").chmod(0)
    refused((*RUN, "in.mp4"), 2, "in.mp4 cannot be opened: Permission denied")
