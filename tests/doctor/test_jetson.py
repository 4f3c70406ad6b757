from __future__ import annotations

import pytest

from hgedge.doctor.jetson import jetpack, jetson


def test_a_pc_is_no_jetson(make_machine) -> None:
    assert [(check.name, check.state, check.found) for check in jetson(make_machine())] == [
        ("jetpack", "absent", "no Jetson")
    ]


@pytest.mark.parametrize(
    ("release", "found", "state"),
    [
        ("R36 (release), REVISION: 4.3", "L4T 36.4.3, JetPack 6.1 or 6.2", "ok"),
        ("R36 (release), REVISION: 3.0", "L4T 36.3.0, JetPack 6.0", "ok"),
        ("R38 (release), REVISION: 2.0", "L4T 38.2.0, JetPack 7.0 or 7.1", "ok"),
        ("R39 (release), REVISION: 2", "L4T 39.2, JetPack 7.2", "ok"),
        ("R35 (release), REVISION: 4.1", "JetPack 5: too old", "broken"),
        ("R44 (release), REVISION: 1.0", "L4T 44.1.0, JetPack ?", "ok"),
    ],
)
def test_releases(make_machine, release: str, found: str, state: str) -> None:
    check = jetpack(make_machine({"etc/nv_tegra_release": f"# {release}, GCID: 1, BOARD: generic"}))
    assert check.state == state and found in check.found


def test_a_container_without_the_release(make_machine, orin) -> None:
    check = jetpack(make_machine({"proc/device-tree/model": orin["proc/device-tree/model"], ".dockerenv": ""}))
    assert check.state == "missing" and "Jetson Orin Nano" in check.found and "/etc/nv_tegra_release" in check.fix


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo 'NV Power Mode: MAXN_SUPER'; echo 2", "ok", "MAXN_SUPER; note it beside every benchmark"),
        ("exit 1", "absent", "nvpmodel -q does not say; try sudo nvpmodel -q"),
        (None, "absent", "nvpmodel is not here; a container does not see it"),
    ],
)
def test_power_mode(make_machine, orin, tmp_path, script: str | None, state: str, found: str) -> None:
    if script is not None:
        (tmp_path / "nvpmodel").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvpmodel").chmod(0o755)
    check = jetson(make_machine(orin, environment={"PATH": str(tmp_path)}))[1]
    assert (check.name, check.state, check.found) == ("power mode", state, found)
