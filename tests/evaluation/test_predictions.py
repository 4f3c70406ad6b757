"""Files of predictions: every kind that is read, and what is refused."""

import json

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import ConfigError, SourceError
from hgedge.evaluation.predictions import Predictions, read_predictions, save_predictions

PEOPLE = 5


@pytest.fixture
def truth(labels):
    return labels(LSP14, np.random.default_rng(0).uniform(0, 100, (PEOPLE, 14, 2)))


@pytest.fixture
def predicted():
    return np.random.default_rng(1).uniform(0, 100, (PEOPLE, 14, 2))


def write(path, predicted):
    if path.name == "turned.mat" or path.suffix == ".mat":
        from scipy.io import savemat

        turned = path.name == "turned.mat"
        savemat(path, {"pos_pred_src": predicted.transpose(1, 2, 0)} if turned else {"preds": predicted})
    elif path.suffix == ".h5":
        h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'hgedge[bench]'")
        with h5py.File(path, "w") as file:
            file["preds"] = predicted
    elif path.suffix == ".npz":
        np.savez(path, preds=predicted)
    elif path.suffix == ".json":
        path.write_text(json.dumps(predicted.tolist()))
    else:
        path.write_text("\n".join(json.dumps({"keypoints": person}) for person in predicted.tolist()) + "\n")


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat", "turned.mat", "a.json", "a.jsonl"])
def test_every_kind_is_read(tmp_path, truth, predicted, name):
    write(tmp_path / name, predicted)
    found = read_predictions(tmp_path / name, truth)
    np.testing.assert_array_equal(found.keypoints, predicted)
    assert found.scores.tolist() == [1] * PEOPLE


def test_what_is_saved_is_read_again(tmp_path, truth, predicted):
    save_predictions(tmp_path / "a.npz", Predictions(predicted, np.arange(PEOPLE) / 8), truth)
    found = read_predictions(tmp_path / "a.npz", truth)
    np.testing.assert_allclose(found.keypoints, predicted, rtol=1e-6)  # saved as float32
    assert found.scores.tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    with np.load(tmp_path / "a.npz") as file:
        assert tuple(file["names"]) == LSP14.names and file["people"][0] == "0.jpg"
        np.testing.assert_array_equal(file["labels"], truth.keypoints)
        assert file["labelled"].all() and file["indices"].tolist() == list(range(PEOPLE))


def some(truth, rows):
    """The labels of a run with --limit."""
    from dataclasses import replace

    fields = ("keypoints", "labelled", "unit_px", "area", "boxes_xyxy", "pictures", "names", "indices")
    return replace(truth, **{field: getattr(truth, field)[rows] for field in fields})


def test_a_limit_takes_its_people_out_of_a_whole_file(tmp_path, truth, predicted):
    write(tmp_path / "a.npz", predicted)
    np.testing.assert_array_equal(
        read_predictions(tmp_path / "a.npz", some(truth, [0, 4])).keypoints, predicted[[0, 4]]
    )


def test_a_run_with_a_limit_is_read_with_it_alone(tmp_path, truth, predicted):
    few = some(truth, [0, 2, 4])
    save_predictions(tmp_path / "a.npz", Predictions(predicted[[0, 2, 4]], np.ones(3)), few)
    assert len(read_predictions(tmp_path / "a.npz", few).keypoints) == 3
    with pytest.raises(ConfigError, match="holds predictions of 3 people, and lacks 2 of the 5 .* give the --limit"):
        read_predictions(tmp_path / "a.npz", truth)


def test_nan_is_read(tmp_path, truth, predicted):
    predicted[1, 2] = np.nan
    write(tmp_path / "a.json", predicted)
    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text().replace("NaN", "null"))
    for name in "ab":
        np.testing.assert_array_equal(read_predictions(tmp_path / f"{name}.json", truth).keypoints, predicted)


def test_points_with_scores(tmp_path, truth, predicted):
    three = np.concatenate([predicted, np.full((PEOPLE, 14, 1), 0.5)], axis=2)
    (tmp_path / "a.json").write_text(json.dumps(three.tolist()))
    found = read_predictions(tmp_path / "a.json", truth)
    np.testing.assert_array_equal(found.keypoints, predicted)
    assert found.scores.tolist() == [0.5] * PEOPLE


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda p: p[:4], ConfigError, "holds predictions of 4 people, but split 'val' of made has 5"),
        (lambda p: np.zeros((5, 16, 2)), ConfigError, "holds 16 keypoints a person, .* with the 14 of 'lsp14'"),
        (lambda p: np.zeros((5, 14)), SourceError, "must be people x keypoints x 2, but are 5 x 14"),
        (lambda p: np.zeros((5, 14, 4)), SourceError, "must be people x keypoints x 2, but are 5 x 14 x 4"),
    ],
)
@pytest.mark.parametrize("name", ["a.npz", "a.mat", "a.json"])
def test_other_shapes_are_refused(tmp_path, truth, predicted, name, made, error, message):
    write(tmp_path / name, made(predicted))
    with pytest.raises(error, match=message):
        read_predictions(tmp_path / name, truth)


def test_other_keypoints_and_other_people_are_refused(tmp_path, truth, predicted, labels):
    names = np.array((*LSP14.names[:12], "nose", "chin"))
    np.savez(tmp_path / "a.npz", keypoints=predicted, names=names)
    with pytest.raises(ConfigError, match="other keypoints than 'lsp14', .*: 'nose' where 'neck' belongs"):
        read_predictions(tmp_path / "a.npz", truth)
    save_predictions(tmp_path / "b.npz", Predictions(predicted, np.ones(PEOPLE)), truth)
    with pytest.raises(ConfigError, match="was made on other people or other labels than those of split 'val' of made"):
        read_predictions(tmp_path / "b.npz", labels(LSP14, truth.keypoints + 1))
    with pytest.raises(ConfigError, match="14 keypoints a person"):
        read_predictions(tmp_path / "b.npz", labels(MPII16, np.zeros((PEOPLE, 16, 2))))


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat", "a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "content", [b"", b"no such thing", b"[1, 2", b"PK\x03\x04", b'{"a": 1}', b"\x89HDF\r\n\x1a\n", b"[]"]
)
def test_damaged_files_are_refused(tmp_path, truth, name, content):
    pytest.importorskip("h5py", reason="needs h5py: pip install 'hgedge[bench]'")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=name):
        read_predictions(tmp_path / name, truth)


def test_files_without_predictions_are_refused(tmp_path, truth):
    np.savez(tmp_path / "a.npz", joints=np.zeros(3))
    with pytest.raises(SourceError, match="must hold 'keypoints' or 'preds', but holds: joints"):
        read_predictions(tmp_path / "a.npz", truth)
    with pytest.raises(SourceError, match=r"no such file: .*b\.npz"):
        read_predictions(tmp_path / "b.npz", truth)
    with pytest.raises(ConfigError, match=r"must be a file of predictions: \.npz, \.h5, \.mat, \.json, \.jsonl"):
        read_predictions(tmp_path / "c.csv", truth)
