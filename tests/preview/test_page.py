"""The page in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hgedge.preview import Preview
from hgedge.sources import open_source
from hgedge.visualization.figures import figure_picture
from tests.preview.conftest import Run, person, until

ABOUT = {
    "bundle": "default-int8-openvino",
    "model": {"name": "default"},
    "precision": "int8",
    "backend": {"name": "openvino", "version": "2026.4.1"},
    "device": {"name": "<b>Some CPU</b>", "architecture": "x86_64"},
    "agreement": {"mean_px": 1.61, "p99_px": 28.4},
    "accuracy": {"PCK@0.2 mean": 61.46},
    "drop": {"PCK@0.2 mean": -0.02},
}
LARGE_PX = 40


class Playing:
    """Publishes a moving figure in a thread, as a run does, until it is stopped."""

    def __init__(self, preview: Preview) -> None:
        self.run = Run(preview, (96, 160))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _play(self) -> None:
        picture = figure_picture((96, 160), 3)[0]
        while not self._stop.wait(0.05):
            shift = 4 * self.run.count
            people = [person(4), person(11)]
            self.run.publish(draw=lambda shift=shift: np.roll(picture, shift, axis=1), people=people, dropped=7)


@pytest.fixture
def playing(tmp_path: Path, browser) -> Iterator[tuple[Preview, Playing]]:
    """A run that plays, its page open in the browser."""
    with Preview(port=0, token="a-token-of-the-test", recordings=tmp_path, about=ABOUT) as preview:
        play = Playing(preview)
        try:
            browser.get(preview.url)
            yield preview, play
        finally:
            play.stop()


def text(browser, identity: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0]).innerText", identity)


def picture(browser) -> str:
    """What stands on the canvas, without the page around it."""
    return browser.execute_script("return document.getElementById('picture').toDataURL()")


def test_the_picture_moves_and_the_figures_follow(browser, playing) -> None:
    until(lambda: text(browser, "state") == "Live")
    until(lambda: browser.execute_script("return document.getElementById('picture').width") == 160)
    first = picture(browser)
    until(lambda: picture(browser) != first)
    frames = int(text(browser, "frames"))
    until(lambda: int(text(browser, "frames")) > frames)
    assert text(browser, "latency") == "9.5 ms" and text(browser, "age") == "13 ms" and text(browser, "dropped") == "7"
    until(lambda: float(text(browser, "fps").removesuffix(" fps")) > 0)
    assert text(browser, "people-title") == "People: 2"
    assert text(browser, "people").split("\n") == ["#4", "0.75 · 14 of 14 joints", "#11", "0.75 · 14 of 14 joints"]
    until(lambda: "infer" in text(browser, "legend"))
    assert browser.get_log("browser") == []  # nothing that the page's own rules refuse, either


def test_the_engine_is_told_as_text(browser, playing) -> None:
    until(lambda: "default-int8-openvino" in text(browser, "engine"))
    said = text(browser, "engine").replace("\t", " ")
    assert "<b>Some CPU</b> x86_64" in said and "1.61 px mean, 28.4 px p99" in said
    assert "PCK@0.2 mean 61.5 −0.02" in said
    assert text(browser, "engine-line") == "default · INT8 · openvino 2026.4.1"


def test_the_token_leaves_the_address_and_no_script_reads_the_cookie(browser, playing) -> None:
    preview, _ = playing
    until(lambda: browser.current_url == f"http://127.0.0.1:{preview.port}/")
    browser.refresh()
    until(lambda: text(browser, "state") == "Live")
    assert browser.execute_script("return document.cookie") == ""
    browser.delete_all_cookies()
    browser.refresh()
    until(lambda: "Token needed" in browser.find_element("tag name", "body").text)
    browser.find_element("name", "token").send_keys("a-token-of-the-test\n")
    until(
        lambda: browser.execute_script("return document.getElementById('state')") and text(browser, "state") == "Live"
    )
    browser.get_log("browser")  # told of the 401


def test_recording_from_the_page(browser, playing, tmp_path: Path) -> None:
    until(lambda: text(browser, "state") == "Live")
    browser.find_element("id", "record").click()
    until(lambda: text(browser, "record").startswith("Stop 0:0"))
    until(lambda: text(browser, "record") != "Stop 0:00")
    browser.find_element("id", "record").click()
    until(lambda: text(browser, "message").startswith("saved "))
    until(lambda: text(browser, "record") == "Record")
    (path,) = tmp_path.iterdir()
    assert text(browser, "message") == f"saved {path}"
    with open_source(path) as source:
        frames = [frame.image for frame in source]
    assert frames[0].shape == (96, 160, 3) and np.abs(frames[0].astype(int) - frames[-1]).mean() > 1
    assert browser.get_log("browser") == []


def test_a_stall_and_the_end_are_written_large(browser, tmp_path: Path) -> None:
    with Preview(port=0, recordings=tmp_path) as preview:
        run = Run(preview, (96, 160))
        browser.get(preview.url)
        until(lambda: text(browser, "state") == "Waiting")
        run.publish()
        until(lambda: text(browser, "state") == "Live")
        banner = browser.find_element("id", "banner")
        assert not banner.is_displayed()
        until(lambda: text(browser, "state") == "Stalled")
        assert banner.is_displayed() and banner.text.split("\n")[0] == "Stalled" and "no frame for" in banner.text
        size = banner.find_element("tag name", "strong").value_of_css_property("font-size")
        assert float(size.removesuffix("px")) >= LARGE_PX
        preview.tell("retrying")
        until(lambda: text(browser, "state") == "Retrying")
        run.publish()
        until(lambda: text(browser, "state") == "Live")
        assert not banner.is_displayed() and browser.get_log("browser") == []
    until(lambda: text(browser, "state") == "Ended")
    until(lambda: any("ERR_CONNECTION_REFUSED" in each["message"] for each in browser.get_log("browser")))
    assert text(browser, "state") == "Ended" and banner.text == "Ended\nthe run is over, 2 frames"
    with Preview(port=preview.port) as again:  # the page finds the next run by itself
        Run(again).publish()
        until(lambda: text(browser, "state") == "Live")
