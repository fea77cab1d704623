from collections.abc import Iterator
from pathlib import Path

import pytest
from extras import package

from wsl import load_classifier
from wsl.demo.scene import draw_image
from wsl.integrations.gradio import OWN, build_page, localize, serve

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("demo", device="cpu")


def test_the_fields_choose_recipe_method_and_classes(classifier) -> None:
    image = draw_image(5, seed=0).image
    (first,) = localize(classifier, image, recipe="fast", method=OWN)
    assert first.category == "mushroom"
    (chosen,) = localize(classifier, image, recipe="fast", method="grad_cam", classes=["car"])
    assert chosen.category == "car"
    assert chosen.saliency is not None
    assert len(localize(classifier, image, recipe="fast", top_k=3)) == 3


def test_without_gradio_the_extra_is_named(classifier, monkeypatch) -> None:
    import sys

    from wsl.errors import ConfigError

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"wsl-localize\[app\]"):
        serve(classifier)


@pytest.fixture(scope="module")
def address(classifier) -> Iterator[str]:
    package("gradio")
    page = build_page(classifier, recipe="fast")
    _, local, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, inbrowser=False
    )
    yield local
    page.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.filterwarnings("ignore")  # Gradio's own
def test_an_image_is_localized_in_the_browser(address: str, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: install Debian's chromium")
    from PIL import Image
    from playwright.sync_api import sync_playwright

    Image.fromarray(draw_image(5, seed=0).image).save(tmp_path / "mushroom.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        outside: list[str] = []
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, "data:", "blob:"))
                else outside.append(request.url)
            ),
        )
        page.goto(address)
        page.set_input_files("input[type=file]", tmp_path / "mushroom.png")
        page.wait_for_selector("[data-testid=image] img, .image-frame img")
        page.get_by_role("button", name="Localize").click()
        steps = page.locator("#steps img")
        steps.wait_for(timeout=120_000)
        page.get_by_text("mushroom").first.wait_for(state="attached")
        # All of the strip is seen: it is as wide as its panels make it.
        shape = steps.evaluate("image => image.naturalWidth / image.naturalHeight")
        assert shape > 3
        assert steps.bounding_box()["width"] / steps.bounding_box()["height"] == pytest.approx(
            shape, rel=0.05
        )
        assert not outside
        browser.close()
