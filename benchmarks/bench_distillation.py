"""What a small student gains from a teacher: two runs that differ in nothing else. Takes a quarter of an hour."""

import dataclasses
from pathlib import Path

import pytest

from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.config import Phase, TrainingConfig
from hgedge.training.loop import train

METRICS = ("PCK@0.5 pooled", "PCK@0.2 pooled", "PCK@0.1 pooled", "PCK@0.05 pooled")


@pytest.mark.soak
def test_distillation(lspet, tmp_path, save):
    alone = TrainingConfig(
        data=str(lspet),
        output=str(tmp_path / "alone"),
        model=HourglassConfig(num_stacks=1, num_features=64, num_keypoints=14),
        phases=(Phase(0.0, 128),),
        epochs=10,
        batch_size=16,
        learning_rate=1.5e-3,
    )
    taught = dataclasses.replace(alone, output=str(tmp_path / "taught"), teacher="default", teacher_weight=0.5)
    checkpoints = {Path(config.output).name: train(config).checkpoint for config in (alone, taught)}
    dataset, labels = open_people(lspet, "val")
    found = {name: predictions_of(str(path), dataset, labels.indices) for name, path in checkpoints.items()}
    told = report(found["taught"], labels, found["alone"])["intervals"]
    results = {
        "student": dataclasses.asdict(alone.model),
        "epochs": alone.epochs,
        "input_size": 128,
        "teacher": "default",
        "teacher_weight": taught.teacher_weight,
        "metrics": {name: report(each, labels)["metrics"] for name, each in found.items()},
        "gained by the teacher": {metric: told[metric]["difference"] for metric in METRICS},
        "logs": {name: (tmp_path / name / "log.jsonl").read_text().splitlines() for name in checkpoints},
    }
    save("distillation", results)
    assert all(results["metrics"][name]["PCK@0.5 pooled"] > 20 for name in found)  # both have learnt something
