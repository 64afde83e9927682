"""Tests of the viewer's page in a real browser, with WebGL drawn by the CPU."""

import io
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from tests.helpers.browser import NAMES, PROGRAM, Browser

from crossview.core.errors import fail
from crossview.reporting.viewer.gallery import Gallery, Listed
from crossview.reporting.viewer.grid import Grid
from crossview.reporting.viewer.layers import opened
from crossview.reporting.viewer.server import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason=f"needs a browser: {', '.join(NAMES)}"),
]

LABEL, PREDICTION = (86, 180, 233), (255, 159, 10)


def ball(shape, centre, radius):
    places = np.indices(shape) - np.reshape(centre, (len(shape), *[1] * len(shape)))
    return ((places**2).sum(0) <= radius**2).astype(np.uint8)


def volume():
    """A scan from black to white, a label at its right and a prediction at its left."""
    shape = (24, 24, 24)
    image = np.indices(shape)[2:].astype(np.float32)
    label, prediction = ball(shape, (17, 12, 12), 4), ball(shape, (7, 12, 12), 4)
    doubts = {"entropy": prediction * np.float32(0.5)}
    grid = Grid.of(shape, np.eye(4))
    return opened(grid, image, label, prediction, doubts=doubts, names={1: "atrium"})


def picture():
    shape = (20, 30)
    colours = np.stack([np.full(shape, value, np.float32) for value in (200, 20, 20)])
    label = ball(shape, (4, 6), 3)
    return opened(Grid.of(shape), colours, label, label)


def damaged():
    fail("the file is damaged", "third.nii.gz")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    cases = (
        Listed("first", volume, 0.25, "Dice 25.00 %", (("atrium", "25.00 %"),)),
        Listed("second", picture, 0.75, "Dice 75.00 %"),
        Listed("third", damaged),
    )
    gallery = Gallery("CML on folder", "3 cases", "worst Dice first", cases)
    with Server(gallery) as server, Browser(tmp_path_factory.mktemp("browser")) as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        browser.open(server.address)
        ready(browser, 0)
        yield browser
        server.shutdown()


def ready(browser, index):
    browser.wait(f"document.body?.dataset.ready === '{index}'")


def canvas(browser):
    """Return what the page draws, RGB (H, W, 3), without the letters and the sides of the page."""
    shown = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB")).astype(int)
    box = "(({x, y, width, height}) => [x, y, width, height])(canvas.getBoundingClientRect())"
    x, y, width, height = map(round, browser.run(box))
    return shown[y : y + height, x : x + width]


def near(pixels, colour, tolerance=40):
    return (abs(pixels - np.array(colour)).max(axis=-1) <= tolerance).sum()


def test_the_page_shows_a_case_and_goes_on(page):
    text = page.run("document.body.innerText")
    assert "first" in text
    assert "Dice 25.00 %" in text
    drawn = canvas(page)
    grey = (np.ptp(drawn, axis=-1) < 6) & (drawn[..., 0] > 60) & (drawn[..., 0] < 200)
    assert grey.mean() > 0.1  # the scan
    assert near(drawn, PREDICTION) > 300  # its outline
    assert near(drawn, LABEL, 60) > 300
    # As radiologists view it: the label, on the patient's right, is left of the prediction.
    page.press("v")
    axial = canvas(page)
    blue = (axial[..., 2] - axial[..., 0] > 20).nonzero()[1].mean()
    orange = (axial[..., 0] - axial[..., 2] > 100).nonzero()[1].mean()
    assert blue < orange
    page.press(" ")
    assert near(canvas(page), PREDICTION) == 0
    page.press(" ")
    page.press("3")
    assert near(canvas(page), PREDICTION) == 0
    page.press("3")
    assert near(canvas(page), PREDICTION) > 300
    assert "label atrium" in page.run("document.getElementById('values').innerText")
    page.press("ArrowRight")
    ready(page, 1)
    drawn = canvas(page)
    assert near(drawn, (200, 20, 20)) > 10_000  # the image keeps its colours
    assert "column 6" in page.run("document.getElementById('where').innerText")
    assert "row 4" in page.run("document.getElementById('where').innerText")
    # Row 4 and column 6 of 20 and 30: at the top, at the left.
    marked = ((drawn[..., 0] > 240) & (drawn[..., 1] > 130)).nonzero()
    red = (near_mask(drawn, (200, 20, 20))).nonzero()
    assert marked[0].mean() < red[0].mean()
    assert marked[1].mean() < red[1].mean()
    page.run("document.getElementById('next').click()")
    page.wait("document.getElementById('message').innerText.includes('the file is damaged')")
    page.press("ArrowLeft")
    ready(page, 1)
    assert page.run("document.getElementById('message').innerText") == ""
    assert page.complaints == []


def near_mask(pixels, colour):
    return abs(pixels - np.array(colour)).max(axis=-1) <= 40


def test_the_page_asks_for_nothing_elsewhere(page):
    own = page.run("location.origin")
    others = [
        address for address in page.addresses if not address.startswith((own, "data:", "blob:"))
    ]
    assert others == []
    refused = page.run(
        "Promise.all(['../', '../wrong/gallery.json', '../../etc/passwd', 'LICENSES.txt', '9.json']"
        ".map((path) => fetch(path).then((answer) => answer.status)))"
    )
    assert refused == [404] * 5
    assert page.run("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')") == "refused"
