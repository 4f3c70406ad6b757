"""A bundle that exists is whole; a damaged one is refused with what to do."""

import dataclasses
import json

import pytest

from hgedge import device
from hgedge.bundle import check_fits, file_digest, inspect, open_bundle, seal
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ConfigError, EngineMismatch
from hgedge.spec import BackendInfo, DecodeSpec, DeviceInfo, InputSpec, Manifest, ModelInfo
from hgedge.staging import resealed, staged


def manifest(**changes):
    made = Manifest(
        hgedge_version="0.1.0",
        measured=True,
        model=ModelInfo("default", "ab" * 32, 2, 1000, 0.5),
        precision="int8",
        backend=BackendInfo("openvino", "2026.4.1"),
        device=device.cpu(),
        input=InputSpec((192, 192)),
        keypoints=LSP14,
        decode=DecodeSpec(),
        digest="cd" * 32,
        num_convs=10,
        num_convs_int8=9,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def bundle(tmp_path):
    target = tmp_path / "engines" / "default-int8-openvino"
    with staged(target, force=False) as folder:
        (folder / "model.onnx").write_bytes(b"graph")
        (folder / "engine.bin").write_bytes(b"weights")
        seal(folder, manifest())
    return target


def test_what_was_sealed_is_what_is_opened(bundle):
    opened = open_bundle(bundle)
    assert dataclasses.replace(opened, files={}) == manifest()
    assert opened.files == {name: file_digest(bundle / name) for name in ("engine.bin", "model.onnx")}
    assert inspect(bundle)["bytes"] == {"engine.bin": 7, "model.onnx": 5}
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def flip_byte(bundle):
    (bundle / "engine.bin").write_bytes(b"weightz")


def symlink_outside(bundle):
    outside = bundle.parent.parent / "elsewhere"
    outside.write_bytes(b"weights")
    (bundle / "engine.bin").unlink()
    (bundle / "engine.bin").symlink_to(outside)


def edit(**changes):
    def damage(bundle):
        document = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_text(json.dumps({**document, **changes}))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_byte, "engine.bin is not the file that was built: its sha256 differs; rebuild: hgedge build default"),
        (lambda bundle: (bundle / "model.onnx").unlink(), "lacks model.onnx, which its manifest names"),
        (lambda bundle: (bundle / "manifest.json").unlink(), "has no manifest.json, so it is no bundle"),
        (lambda bundle: (bundle / "manifest.json").write_bytes(b"\xff\x00"), "is not JSON"),
        (lambda bundle: (bundle / "manifest.json").write_text("[]"), "has no format_version"),
        (edit(format_version=99), "has format 99, but this hgedge reads up to 1; upgrade hgedge"),
        (edit(precison="int8"), "unknown key 'precison'; did you mean 'precision'"),
        (edit(files={"../outside": "00"}), "'../outside', which lies outside the bundle"),
        (symlink_outside, "'engine.bin', which lies outside the bundle"),
    ],
)
def test_damage_is_refused(bundle, damage, message):
    damage(bundle)
    with pytest.raises(EngineMismatch, match=message.replace(".", r"\.")):
        open_bundle(bundle)


def test_no_such_bundle(tmp_path):
    with pytest.raises(EngineMismatch, match="does not exist; make one with: hgedge build"):
        open_bundle(tmp_path / "nothing")


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), staged(tmp_path / "engines" / "one", force=False) as folder:
        (folder / "model.onnx").write_bytes(b"half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_meanwhile_is_kept(bundle):
    before = file_digest(bundle / "manifest.json")
    with pytest.raises(ConfigError, match="has been made by someone else"), staged(bundle, force=False) as folder:
        (folder / "other").write_bytes(b"other")
    assert file_digest(bundle / "manifest.json") == before and len(list(bundle.parent.iterdir())) == 1


def test_force_replaces(bundle):
    with staged(bundle, force=True) as folder:
        seal(folder, manifest(precision="fp32"))
    assert open_bundle(bundle).precision == "fp32" and len(list(bundle.parent.iterdir())) == 1


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "engines").write_text("a file")
    with pytest.raises(ConfigError, match="cannot write to .*engines: .*choose another --output"):
        with staged(tmp_path / "engines" / "one", force=False):
            raise AssertionError("must not begin")


def test_another_processor_is_refused(bundle):
    here = device.cpu()
    check_fits(bundle, manifest(), here)
    other = dataclasses.replace(here, name="Cortex-A78AE", architecture="other")
    with pytest.raises(
        EngineMismatch,
        match=r"was built for Cortex-A78AE \(linux, other\), but this machine has .*rebuild: hgedge build",
    ):
        check_fits(bundle, manifest(device=other), here)
    with pytest.raises(EngineMismatch, match=r"\(windows, x86_64\), but this machine has .* \(linux, x86_64\)"):
        check_fits(bundle, manifest(device=DeviceInfo("A CPU", "x86_64", (), "windows")), DeviceInfo("B", "x86_64"))
    more = dataclasses.replace(here, features=(*here.features, "amx_future"))
    with pytest.raises(EngineMismatch, match="without amx_future"):
        check_fits(bundle, manifest(device=more), here)
    with pytest.raises(EngineMismatch, match="is a portable half without an engine; make one with: hgedge build"):
        check_fits(bundle, manifest(backend=None, device=None), here)


def test_files_of_a_bundle_are_replaced_in_one_step(bundle):
    before = open_bundle(bundle)
    kept = next(name for name in before.files if name != "golden.npz")
    inode = (bundle / kept).stat().st_ino
    link = bundle.parent / "link"
    link.symlink_to(bundle)
    changed = {"golden.npz": lambda path: path.write_bytes(b"new")}
    after = resealed(link, dataclasses.replace(before, precision="fp32"), changed)
    assert open_bundle(bundle) == after and after.precision == "fp32"
    assert (bundle / "golden.npz").read_bytes() == b"new" and (bundle / kept).stat().st_ino == inode
    assert after.files[kept] == before.files[kept] and len(list(bundle.parent.iterdir())) == 2
    with pytest.raises(RuntimeError):
        resealed(bundle, before, {"golden.npz": lambda path: (_ for _ in ()).throw(RuntimeError("cannot"))})
    assert open_bundle(bundle) == after and len(list(bundle.parent.iterdir())) == 2


def test_folders_made_for_a_build_that_fails_are_removed(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(RuntimeError), staged(tmp_path / "kept" / "new" / "engines" / "one", force=False):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]
