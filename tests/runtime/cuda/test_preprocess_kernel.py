"""preprocess.cu, run on the CPU, against OpenCV's colours, the exact bilinear crop and the formula of `normalise`."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgedge import geometry
from hgedge.runtime.cuda.affines import fixed_point
from hgedge.runtime.pixels import PIXELS, bgr_from, frame_hw
from hgedge.runtime.preprocess import normalise, reference_crop
from hgedge.spec import InputSpec

# Grey levels: float32 of up to 255, and steps of 255 a pixel at points that lie 1e-6 pixels off (`fixed_point`).
CLOSE = 2e-4
SPECS = {
    "rgb": InputSpec((48, 40), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bgr": InputSpec((48, 40), "bgr", (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)),
    "gray": InputSpec((48, 40), "gray", (0.45,), (0.22,)),
}
UNTOUCHED = 77


@pytest.fixture(scope="session")
def preprocess(launch):
    """preprocess(frame, pixels, affines, spec): what the kernel writes, float32 or float16."""

    def run(frame, pixels, affines, spec, half=False, padding=0, block=256):
        """The frame lies in the middle of noise, in rows that `padding` bytes of it follow."""
        rows = frame.reshape(len(frame), -1)
        around = np.random.default_rng(0).integers(1, 256, (len(rows) + 4, rows.shape[1] + padding), np.uint8)
        around[2:-2, : rows.shape[1]] = rows
        (height, width), shape = spec.hw, (len(affines), spec.channels, *spec.hw)
        out = np.full(np.prod(shape) + UNTOUCHED, np.nan, np.float16 if half else np.float32)
        launch(
            "preprocess", (-(-height * width // block), len(affines)), block,
            around[2:], *frame_hw(frame, pixels)[::-1], around.shape[1], PIXELS.index(pixels),
            fixed_point(np.asarray(affines)), out, int(half), width, height, spec.channels, int(spec.color == "rgb"),
            *three(1 / (255 * np.array(spec.std))), *three(-np.array(spec.mean) / spec.std),
        )  # fmt: skip
        assert np.isnan(out[-UNTOUCHED:]).all()
        return out[:-UNTOUCHED].reshape(shape)

    return run


def three(values):
    return [float(value) for value in np.pad(values, (0, 3 - len(values)))]


def expected(frame, pixels, affines, spec):
    picture = bgr_from(frame, pixels)
    if spec.channels == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    return normalise(np.stack([reference_crop(picture, affine, spec.hw) for affine in affines]), spec)


def close(spec):
    return CLOSE / 255 / min(spec.std)


def as_pixels(picture, pixels):
    """A BGR picture of even size as a frame of some pixels."""
    if pixels == "bgrx":
        return np.dstack([picture, np.random.default_rng(1).integers(0, 256, picture.shape[:2], np.uint8)])
    if pixels == "nv12":
        height, width = picture.shape[:2]
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        u, v = planes[height:].reshape(2, height // 2, width // 2)
        return np.vstack([planes[:height], np.stack([u, v], axis=-1).reshape(height // 2, width)])
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if pixels == "gray" else picture


def affines_on(hw):
    """The whole picture, a close-up between pixels, and a turned crop that reaches beyond the border."""
    close_up = np.array([0.3 * hw[1], 0.2 * hw[0], 0.3 * hw[1] + 17.3, 0.2 * hw[0] + 15.1])
    yield geometry.frame_from_input(geometry.whole_frame_box(hw), (48, 40))
    yield geometry.frame_from_input(close_up, (48, 40))
    yield geometry.frame_from_input(np.array([-40.2, -30.7, 90.1, 99.9]), (48, 40), rotation_deg=33)


@pytest.fixture(params=["astronaut", "im00001", "im00003"], scope="module")
def picture(request, root):
    folder = root.parent / "shared" / "data" / "lspet" / "images"
    path = root / "hgedge" / "pictures" / "astronaut.jpg" if request.param == "astronaut" else folder / request.param
    if request.param != "astronaut" and not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    image = cv2.imread(str(path.with_suffix(".jpg")))
    return image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2].copy()


@pytest.mark.parametrize("color", SPECS)
@pytest.mark.parametrize("pixels", PIXELS)
def test_photographs(preprocess, picture, pixels, color):
    frame, spec, affines = as_pixels(picture, pixels), SPECS[color], list(affines_on(picture.shape[:2]))
    found = preprocess(frame, pixels, affines, spec, padding=5)
    np.testing.assert_allclose(found, expected(frame, pixels, affines, spec), rtol=0, atol=close(spec))
    half = preprocess(frame, pixels, affines, spec, half=True)
    np.testing.assert_array_equal(half.view(np.uint16), found.astype(np.float16).view(np.uint16))


def of_bytes(shape):
    return st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


@st.composite
def frames(draw):
    pixels = draw(st.sampled_from(PIXELS))
    step = 2 if pixels == "nv12" else 1
    height, width = draw(st.tuples(*[st.integers(1, 9).map(lambda size: size * step)] * 2))
    shapes = {"bgr": (height, width, 3), "bgrx": (height, width, 4), "nv12": (height * 3 // 2, width)}
    return draw(of_bytes(shapes.get(pixels, (height, width)))), pixels


def numbers(most):
    """Between pixels, on them, on the grid of eighths that float32 has exactly."""
    return st.one_of(
        st.floats(-most, most), st.integers(-most, most), st.integers(-8 * most, 8 * most).map(lambda i: i / 8)
    )


@given(
    frames(),
    st.sampled_from(["rgb", "bgr", "gray"]),
    st.lists(st.tuples(*[numbers(3), numbers(3), numbers(40)] * 2), min_size=1, max_size=3),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 9),
    st.sampled_from([32, 96, 256]),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_small_frame_and_crop(preprocess, drawn, color, affines, hw, padding, block):
    frame, pixels = drawn
    maps = np.array(affines, float).reshape(-1, 2, 3)
    channels = 1 if color == "gray" else 3
    spec = InputSpec(hw, color, (0.5, 0.25, 0.75)[:channels], (0.5, 0.25, 1.0)[:channels])
    found = preprocess(frame, pixels, maps, spec, padding=padding, block=block)
    np.testing.assert_allclose(found, expected(frame, pixels, maps, spec), rtol=0, atol=close(spec))


def all_of_nv12():
    """A frame with every U and V, and every Y that 8-bit steps of three reach, each with each."""
    luma = np.append(np.arange(0, 255, 3), 255).astype(np.uint8)
    y, uv = np.meshgrid(np.resize(luma, 88), np.arange(1 << 16))
    blocks = y.reshape(256, 256, 2, 44).transpose(0, 2, 1, 3).reshape(512, 256 * 44)
    pairs = np.stack([uv // 256, uv % 256], axis=-1).reshape(256, 256, 88, 2)[:, :, ::4]
    return np.vstack([blocks, pairs.reshape(256, 256 * 44).astype(np.uint8)])


def all_of_bgr():
    steps = np.append(np.arange(0, 255, 3), 255).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)


@pytest.mark.parametrize(
    "frame, pixels, color", [(all_of_nv12(), "nv12", "bgr"), (all_of_bgr(), "bgr", "gray")], ids=["nv12", "gray"]
)
def test_colors_are_opencvs_to_the_bit(preprocess, frame, pixels, color):
    """Without a move and without normalisation, in tiles that a network may be as large as."""
    picture = bgr_from(frame, pixels)
    for left in range(0, picture.shape[1], 4096):
        tile = picture[:, left : left + 4096]
        channels = 1 if color == "gray" else 3
        spec = InputSpec(tile.shape[:2], color, (0.0,) * channels, (1 / 255,) * channels)
        found = preprocess(frame, pixels, [np.array([[1.0, 0, left], [0, 1, 0]])], spec)[0]
        gray = cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY)[None]
        np.testing.assert_array_equal(found, gray if color == "gray" else tile.transpose(2, 0, 1))


@pytest.mark.parametrize("corner", [(-1e9, 0.0), (0.0, 1e9), (-2e9, -2e9), (2e9, 2e9), (-41.0, 0.0), (0.0, 5.0)])
def test_far_outside_is_black(preprocess, corner):
    frame, spec = np.full((5, 7, 3), 255, np.uint8), SPECS["rgb"]
    found = preprocess(frame, "bgr", [np.array([[1.0, 0, corner[0]], [0, 1, corner[1]]])], spec)
    black = np.broadcast_to(-np.array(spec.mean) / spec.std, (48, 40, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(found[0], black, rtol=1e-6)


def test_frames_of_more_than_four_gigabytes(launch):
    """Rows far apart, of which the system gives memory only for those that are touched."""
    try:
        frame = np.zeros((4200, 1 << 20), np.uint8)
    except MemoryError:
        pytest.skip("no 4.4 GB of address space")
    frame[-1, :3] = 10, 20, 30
    out = np.empty((1, 3, 1, 1), np.float32)
    affine = fixed_point(np.array([[[1.0, 0, 0], [0, 1, 4199]]]))
    scales = (1.0,) * 3 + (0.0,) * 3
    launch("preprocess", (1, 1), 256, frame, 5, 4200, 1 << 20, 0, affine, out, 0, 1, 1, 3, 0, *scales)
    np.testing.assert_array_equal(out.ravel(), [10, 20, 30])
