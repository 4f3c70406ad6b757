"""Pictures of odd kinds give the keypoints of the plain picture; those that lie are refused."""

from __future__ import annotations

import os
import resource
import struct
import zlib

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")
Image = pytest.importorskip("PIL.Image", reason="needs Pillow, which comes with hgedge[bench]")

RUN = ("run", "--no-window", "--save", "out", "--engine", "BUNDLE", "--source")
HALF_CELL_PX = 16  # of the astronaut: two decoders may differ by a grey level, which moves a peak by no more
ROUNDING_PX = 0.02  # JSON lines hold two digits
MEMORY = 4 << 30  # bytes that the program may ask for; a picture of 60000 x 60000 pixels needs 10 GB


@pytest.fixture(scope="module")
def photograph(astronaut):
    """The astronaut without her square: (512, 400) RGB."""
    return Image.open(astronaut).convert("RGB").crop((0, 0, 400, 512))


def deep(image, path):
    cv2.imwrite(str(path), np.asarray(image)[..., ::-1].astype(np.uint16) * 257)


def transparent(image, path):
    image = image.convert("RGBA")
    image.putalpha(90)
    image.save(path)


# what is written, the file's name, and what plain picture it equals
KINDS = {
    "16 bits": (deep, "a.png", lambda image: image),
    "grey": (lambda image, path: image.convert("L").save(path), "a.png", lambda image: image.convert("L")),
    "black and white": (lambda image, path: image.convert("1").save(path), "a.png", lambda image: image.convert("1")),
    "transparent": (transparent, "a.png", lambda image: image),
    "palette": (lambda image, path: image.quantize(200).save(path), "a.png", lambda image: image.quantize(200)),
    "upper case": (lambda image, path: image.save(path), "A.PNG", lambda image: image),
    "spaces and other letters": (lambda image, path: image.save(path), "ein Bild, ñandú ☃.png", lambda image: image),
    "a PNG called JPEG": (lambda image, path: image.save(path, "PNG"), "a.jpg", lambda image: image),
    "no extension": (lambda image, path: image.save(path, "PNG"), "a", lambda image: image),
}


@pytest.mark.parametrize("kind", KINDS)
def test_odd_kinds_equal_the_plain_picture(keypoints, photograph, tmp_path, kind):
    write, name, plain = KINDS[kind]
    write(photograph, tmp_path / name)
    plain(photograph).convert("RGB").save(tmp_path / "plain.png")
    found, said = keypoints(name)
    np.testing.assert_array_equal(found, keypoints("plain.png")[0])
    assert said == ""


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_odd_jpegs_equal_the_plain_picture(keypoints, photograph, tmp_path, mode):
    photograph.convert(mode).save(tmp_path / "a.jpg", quality=95, progressive=True)
    Image.open(tmp_path / "a.jpg").convert("RGB").save(tmp_path / "plain.png")
    negative = Image.fromarray(255 - np.asarray(photograph))  # as a CMYK picture looks that is taken for its opposite
    negative.save(tmp_path / "negative.png")
    found, expected = keypoints("a.jpg")[0], keypoints("plain.png")[0]
    assert np.abs(found - expected).max() <= HALF_CELL_PX
    assert np.abs(found - keypoints("negative.png")[0]).max() > 2 * HALF_CELL_PX


UPRIGHT = {  # EXIF 2.32, tag 274: what must be done with the rows and columns of the file
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}


def test_keypoints_are_the_upright_pictures(keypoints, photograph, tmp_path):
    for folder in ("turned", "upright", "as-stored"):
        (tmp_path / folder).mkdir()
    for orientation, turn in UPRIGHT.items():
        exif = Image.Exif()
        exif[274] = orientation
        photograph.save(tmp_path / "turned" / f"{orientation}.jpg", quality=95, exif=exif)
        stored = cv2.imread(str(tmp_path / "turned" / f"{orientation}.jpg"), cv2.IMREAD_COLOR | 128)  # EXIF ignored
        cv2.imwrite(str(tmp_path / "upright" / f"{orientation}.png"), turn(stored))
        cv2.imwrite(str(tmp_path / "as-stored" / f"{orientation}.png"), stored)
    turned, upright, stored = (keypoints(folder)[0] for folder in ("turned", "upright", "as-stored"))
    assert len(turned) == 8
    np.testing.assert_array_equal(turned, upright)
    assert all(np.abs(turned[i] - stored[i]).max() > HALF_CELL_PX for i in range(1, 8))


def test_one_pixel(keypoints, tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    found, _ = keypoints("a.png", "--save", "out.png")
    assert np.abs(found).max() <= 0.5 and cv2.imread(str(tmp_path / "out.png")).shape == (1, 1, 3)


def test_very_wide(keypoints, photograph, tmp_path):
    photograph.resize((20_000, 40)).save(tmp_path / "a.png")
    found, _ = keypoints("a.png", "--save", "out.png")
    assert -0.5 <= found[..., 0].min() and found[..., 0].max() <= 19_999.5
    assert cv2.imread(str(tmp_path / "out.png")).shape == (40, 20_000, 3)


def test_wide_is_the_same_as_padded_beforehand(keypoints, photograph, tmp_path):
    padded = Image.new("RGB", (2000, 2000))
    padded.paste(photograph.resize((2000, 40)), (0, 980))
    padded.save(tmp_path / "padded.png")
    photograph.resize((2000, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (2000, 2000)).save(tmp_path / "black.png")
    found = keypoints("a.png")[0] + (0, 980)
    np.testing.assert_allclose(found, keypoints("padded.png")[0], atol=ROUNDING_PX)
    assert np.abs(found - keypoints("black.png")[0]).max() > HALF_CELL_PX  # the strip was seen


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [("a.gif", {"duration": 100}, 3), ("a.png", {}, 1), ("a.webp", {"lossless": True}, 1), ("a.tiff", {}, 1)],
)
def test_of_many_pictures_in_a_file_what_is_read_is_told(keypoints, photograph, tmp_path, name, options, read):
    frames = [photograph.rotate(90 * turn).convert("L").convert("RGB") for turn in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(frames[:read]):
        frame.save(tmp_path / "frames" / f"{index}.png")
    found, said = keypoints(name)
    np.testing.assert_allclose(found, keypoints("frames")[0], atol=HALF_CELL_PX if name == "a.gif" else 0)
    assert ("holds 3 pictures, of which only the first is read" in said) == (read == 1)


def test_of_a_mixed_folder_the_bad_ones_are_skipped_and_told(keypoints, photograph, tmp_path):
    (tmp_path / "mixed" / "below").mkdir(parents=True)
    photograph.save(tmp_path / "mixed" / "b.png")
    (tmp_path / "mixed" / "c.jpg").write_text("words")
    (tmp_path / "mixed" / "d.jpg").write_bytes(b"")
    (tmp_path / "mixed" / "notes.txt").write_text("words")
    photograph.save(tmp_path / "mixed" / "e.png")
    photograph.save(tmp_path / "plain.png")
    found, said = keypoints("mixed", "--save", "out")
    np.testing.assert_array_equal(found, np.repeat(keypoints("plain.png")[0], 2, axis=0))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "e.png"]
    assert "skipped: mixed/c.jpg is not a picture" in said and "skipped: mixed/d.jpg is empty" in said
    assert "2 of the 4 pictures of folder mixed could not be read" in said


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size."""
    start = next(jpeg.index(marker) for marker in (b"\xff\xc0\0\x11", b"\xff\xc2\0\x11") if marker in jpeg)
    return jpeg[: start + 5] + struct.pack(">HH", height, width) + jpeg[start + 9 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda jpeg: jpeg[: len(jpeg) // 2], "a.jpg is a JPEG that is cut off"),
        (lambda jpeg: b"this is no picture", "a.jpg is not a picture or video"),
        (lambda jpeg: b"", "a.jpg is empty"),
        (lambda jpeg: jpeg[:2], "a.jpg is not a picture or video"),
        (lambda jpeg: resized(jpeg, 0, 0), "a.jpg is not a picture or video"),
    ],
)
def test_refused(refused, astronaut, tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content(astronaut.read_bytes()))
    refused((*RUN, "a.jpg", "--jsonl", "poses.jsonl"), 2, message)


@pytest.mark.parametrize("side", [60_000, 30_000])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_picture_that_claims_to_be_huge_takes_no_memory(refused, process, astronaut, tmp_path, name, side):
    data = resized(astronaut.read_bytes(), side, side) if name == "a.jpg" else png(side, side)
    (tmp_path / name).write_bytes(data)

    def limited(*arguments):
        return process(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))

    refused((*RUN, name), 2, f"{name} says that it has more pixels than can be read", run=limited)


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("nowhere.jpg", 2, "no such file or folder: nowhere.jpg"),
        ("", 2, "the name of the source is empty"),
        ("folder.jpg", 2, "folder folder.jpg holds no pictures"),
        ("*.bmp", 2, "no file fits the pattern *.bmp"),
        ("/dev/null", 2, "/dev/null is neither a file nor a folder"),
        ("x" * 5000, 2, "File name too long"),
    ],
)
def test_no_picture_at_all(refused, tmp_path, source, code, message):
    (tmp_path / "folder.jpg").mkdir()
    refused((*RUN, source), code, message)


def test_a_folder_of_bad_ones_leaves_nothing(refused, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("words")
    command = (*RUN, "bad", "--jsonl", "poses.jsonl")
    refused(command, 2, "none of the 1 pictures of folder bad can be read; the last: bad/a.jpg", warnings=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read(refused, tmp_path):
    (tmp_path / "a.png").write_bytes(png(8, 8))
    (tmp_path / "a.png").chmod(0)
    refused((*RUN, "a.png"), 2, "a.png cannot be opened: Permission denied")
