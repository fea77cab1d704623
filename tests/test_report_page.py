"""The page, read as text and driven in Debian's Chromium."""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from drawn_runs import EVIL_CLASS, EVIL_ID, make_run

from wsl.errors import OutputError, ScoreError
from wsl.report.gallery import PictureOptions
from wsl.report.page import _json_block, build_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of one run with 60 images, some of whose names are attacks."""
    return build_report([make_run(count=60)], tmp_path_factory.mktemp("one") / "report.html")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of two runs over the same 40 images."""
    runs = [make_run(count=40, miss=0.15), make_run(count=40, miss=0.05, seed=1, name="better")]
    return build_report(runs, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a run that is judged by its top-1 predictions and with the class known."""
    return build_report([make_run(count=40, both=True)], tmp_path_factory.mktemp("both"))


# ------------------------------------------------------------------------------- as text


def test_a_folder_gets_an_index_and_nothing_else(two: Path) -> None:
    assert [path.name for path in two.parent.iterdir()] == ["index.html"]


def test_the_page_names_nothing_outside_of_itself(one: Path) -> None:
    text = one.read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']([^"']*)""", text)
    assert sources
    assert {source for source in sources if not source.startswith(("#", "data:"))} <= {"x"}
    assert "url(" not in text
    assert "@import" not in text
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', text).group(1))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    pages = [build_report([make_run(count=5)], tmp_path / f"{n}.html") for n in range(2)]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_figures_stand_with_their_intervals_and_baselines(one: Path) -> None:
    text = " ".join(re.sub(r"<[^>]*>", " ", one.read_text(encoding="utf-8")).split())
    scores = make_run(count=60).scores
    for estimate in scores.estimates:
        value, low, high = (
            f"{100 * end:.1f}" for end in (estimate.value, estimate.low, estimate.high)
        )
        assert f"{value} {low} – {high}" in text
    for baseline in scores.baselines:
        for estimate in baseline.estimates:
            assert f" {100 * estimate.value:.1f} " in text


def test_names_never_become_markup(one: Path) -> None:
    text = one.read_text(encoding="utf-8")
    assert EVIL_CLASS not in text
    assert EVIL_ID not in text
    assert html.escape(EVIL_CLASS, quote=False) in text.replace("&#34;", '"').replace("&#39;", "'")
    assert text.count("</script>") == 2  # the data's and the script's own


def test_a_json_block_cannot_be_left() -> None:
    evil = "</script><!-- &\u2028"
    block = str(_json_block({"name": evil}))
    assert not re.search("[<>&\u2028]", block)
    assert json.loads(block) == {"name": evil}


def test_a_page_without_pictures_diagnosis_or_quality(tmp_path: Path) -> None:
    run = replace(make_run(pictures=False, quality=False), diagnosis=None, timings={}, config={})
    text = build_report([run], tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "made without pictures" in text
    assert 'id="errors"' not in text
    assert 'id="quality"' not in text


def test_what_is_left_out_is_told_once_for_each_reason(tmp_path: Path) -> None:
    scores = replace(
        make_run().scores, omitted={"mean_iou": "for one", "gt_known_0.3": "b", "max_box_acc": "b"}
    )
    run = replace(make_run(), scores=scores)
    text = build_report([run], tmp_path, pictures=PictureOptions(count=0)).read_text()
    told = [line for line in text.splitlines() if "<li>Without" in line]
    assert "".join(told).count("<li>Without") == 2
    assert "Without Mean IoU, class known: for one." in text
    assert "Without GT-known localization, IoU ≥ 0.3; max box acc: b." in text


def test_differences_stand_with_their_intervals(two: Path) -> None:
    text = two.read_text(encoding="utf-8")
    assert "Paired over the same images" in text
    assert 'class="better" title="better"' in text
    assert text.count('class="differs"') == 1  # of the keys only saliency.method differs


def test_other_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="must be over the same images"):
        build_report([make_run(count=5), make_run(count=6)], tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*index\.html"):
        build_report([make_run(count=2)], tmp_path / "file")


# --------------------------------------------------------------------------- in a browser


@dataclass
class Opened:
    """A page with everything it said and asked for."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: install Debian's chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Callable[..., Opened]]:
    """Open a page; at the end of the test nothing must have gone wrong on it."""
    opened: list[Opened] = []

    def open_page(path: Path, *, width: int = 1280, scheme: str = "light") -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        found = Opened(context.new_page())
        page = found.page
        page.on("console", lambda message: found.errors.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        page.on("dialog", lambda dialog: (found.errors.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: found.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".card")
        opened.append(found)
        return found

    yield open_page
    for found in opened:
        outside = [url for url in found.requests if not url.startswith(("data:", "file:"))]
        files = [url for url in found.requests if url.startswith("file:")]
        title = found.page.title()
        found.page.context.close()
        assert not found.errors
        assert not outside
        assert len(files) == 1, files
        assert title.endswith("wsl report")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_page_opens_from_disk_and_fits(visit, one: Path, two: Path, width, scheme) -> None:
    for path in (one, two):
        page = visit(path, width=width, scheme=scheme).page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        clipped = page.evaluate(
            "[...document.querySelectorAll('.scroll')].map((a) => a.scrollWidth - a.clientWidth)"
        )
        assert width < 1280 or max(clipped) <= 0
        assert page.locator("main > section").count() >= 6
        # rejects, and so fails, if a picture cannot be decoded
        page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in re.findall(r"\d+", paper)[:3]) > 384
        assert bright == (scheme == "light")


@pytest.mark.browser
def test_names_that_attack_are_shown_as_text(visit, one: Path) -> None:
    page = visit(one).page
    page.fill("[name=search]", EVIL_ID)
    assert page.locator(".card").count() == 1
    assert EVIL_ID in page.locator(".card").inner_text()
    page.locator(".card").click()
    assert EVIL_ID in page.locator("#large-facts").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("link", name=EVIL_CLASS).click()
    assert page.locator(".card").count() == 12
    assert page.locator(".card b").first.inner_text() == EVIL_CLASS
    assert page.locator("main img[src=x], main script").count() == 0


@pytest.mark.browser
def test_the_policy_forbids_other_scripts_and_requests(visit, one: Path) -> None:
    found = visit(one)
    refused = found.page.evaluate(
        """() => new Promise((done) => {
            const found = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                found.push(event.effectiveDirective);
                if (found.length === 2) done(found.sort());
            });
            const script = document.createElement("script");
            script.textContent = "document.title = 'broken'";
            document.body.append(script);
            fetch("https://example.org/").catch(() => {});
        })"""
    )
    assert refused == ["connect-src", "script-src-elem"]
    assert found.errors  # the browser says so, and that is meant here
    found.errors.clear()
    found.requests[:] = [url for url in found.requests if "example.org" not in url]


@pytest.mark.browser
def test_classes_are_sorted_and_searched(visit, one: Path) -> None:
    page = visit(one).page

    def column(number: int) -> list[str]:
        cells = page.locator(f"#class-table tbody tr:visible > :nth-child({number})")
        return [text.split("\n")[0] for text in cells.all_inner_texts()]

    head = page.locator("#class-table thead th").nth(2)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(text) for text in column(3)]
    assert values == sorted(values, reverse=True)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(3)] == sorted(values)
    page.locator("#class-table thead th").nth(0).get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    names = column(1)
    assert names == sorted(names)
    page.fill("#class-search", "SHAPE 2")
    assert len(column(1)) == 1
    assert page.locator("#class-count").inner_text() == "1 class"
    page.fill("#class-search", "n0000000")
    assert len(column(1)) == 5


@pytest.mark.browser
def test_the_gallery_is_filtered_and_ordered(visit, one: Path) -> None:
    page = visit(one).page

    def cards() -> list[str]:
        return page.locator(".card .caption").all_inner_texts()

    def ious() -> list[float]:
        return [float(re.search(r"IoU ([\d.]+)", text).group(1)) for text in cards()]

    def names() -> list[str]:
        return [text.split()[-1] for text in cards()]

    assert page.locator("#gallery-count").inner_text() == "60 of 60 images"
    assert len(cards()) == 24
    page.locator("#show-more").click()
    assert len(cards()) == 48
    assert "card" in page.evaluate("document.activeElement.className")  # the first new one
    page.select_option("[name=kind]", label="Wrong class, box right")
    assert cards()
    assert all("Wrong class, box right" in text for text in cards())
    page.select_option("[name=kind]", "")
    page.fill("[name=from]", "0.4")
    page.fill("[name=to]", "0.6")
    assert ious()
    assert all(0.395 <= iou <= 0.605 for iou in ious())
    page.get_by_role("button", name="Reset").click()
    assert len(cards()) == 24
    assert page.url.endswith("#gallery")
    page.select_option("[name=order]", "worst")
    assert ious() == sorted(ious())
    assert min(ious()) == 0
    page.select_option("[name=order]", "best")
    assert ious() == sorted(ious(), reverse=True)
    best = names()
    page.select_option("[name=order]", "random")
    first = names()
    page.select_option("[name=order]", "best")
    assert names() == best
    page.select_option("[name=order]", "random")
    assert len({*first, *names()}) > 24  # another shuffle, and not the best again
    page.fill("[name=search]", "nothing at all")
    assert "No image fits these filters." in page.locator("#cards").inner_text()


@pytest.mark.browser
def test_first_guesses_and_boxes_of_the_known_class_are_filtered_apart(visit, both: Path) -> None:
    page = visit(both).page
    titles = page.locator("#errors h3").all_inner_texts()
    assert titles == [
        "The top-1 prediction, its class and its box",
        "The box of the image's own class, whatever was predicted",
    ]
    run = make_run(count=40, both=True)
    guesses, known = run.top1_diagnosis.kinds, run.diagnosis.kinds

    def shown() -> int:
        return int(page.locator("#gallery-count").inner_text().split()[0])

    page.select_option("[name=top1-kind]", label="Wrong class, box right")
    wrong = {image for image, kind in guesses.items() if kind == "wrong_class_box_right"}
    assert shown() == len(wrong) > 0
    assert all("predicted" in text for text in page.locator(".card").all_inner_texts())
    page.select_option("[name=kind]", label="Right")
    assert shown() == sum(known[image] == "right" for image in wrong)
    page.select_option("[name=top1-kind]", "")
    assert shown() == sum(kind == "right" for kind in known.values())
    page.get_by_role("button", name="Reset").click()
    assert shown() == 40


@pytest.mark.browser
def test_the_large_view_is_driven_by_keys(visit, one: Path) -> None:
    page = visit(one).page
    place = page.locator("#large-place")
    page.locator(".card").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("#large").is_visible()
    assert place.inner_text() == "2 of 60"
    before = page.locator("#large-facts").inner_text()
    for key, expected in [
        ("ArrowRight", "3 of 60"),
        ("ArrowLeft", "2 of 60"),
        ("Home", "1 of 60"),
        ("ArrowLeft", "1 of 60"),
        ("End", "60 of 60"),
        ("ArrowRight", "60 of 60"),
        ("ArrowLeft", "59 of 60"),
    ]:
        page.keyboard.press(key)
        assert place.inner_text() == expected
    assert page.locator("#large-facts").inner_text() != before
    page.locator("#large-next").click()
    assert place.inner_text() == "60 of 60"
    page.keyboard.press("Escape")
    assert not page.locator("#large").is_visible()
    assert page.evaluate("document.activeElement.dataset.place") == "1"
    page.locator(".card").nth(0).click()
    page.locator("#large-close").click()
    assert not page.locator("#large").is_visible()
    assert page.evaluate("document.activeElement.dataset.place") == "0"


@pytest.mark.browser
def test_every_panel_of_an_image_is_there(visit, one: Path) -> None:
    page = visit(one).page
    page.locator(".card").first.click()
    captions = page.locator("#large-body figcaption").all_inner_texts()
    assert captions == ["image", "saliency", "seeds", "mask", "boxes: predicted, true (dashed)"]
    run = make_run(count=60)
    box = run.steps("drawn_0000").box
    drawn = page.locator("#large-body rect.line:not(.dashed)")
    width = float(drawn.get_attribute("width"))
    assert width == pytest.approx(box[2] - box[0], abs=0.11)
    page.keyboard.press("Escape")
    page.fill("[name=search]", "drawn_0005")  # the image without a box
    assert "no box" in page.locator(".card").inner_text()


@pytest.mark.browser
def test_two_runs_stand_side_by_side(visit, two: Path) -> None:
    page = visit(two).page
    assert page.locator(".card").first.locator(".panel").count() == 3  # the image and each run
    styles = [
        one.get_attribute("class")
        for one in page.locator(".card").first.locator("svg.swatch").all()
    ]
    assert styles == ["swatch run-0", "swatch run-1"]
    first = page.locator(".card .caption").all_inner_texts()
    page.select_option("[name=run]", "1")
    assert page.locator(".card .caption").all_inner_texts() != first
    page.select_option("[name=order]", "change")
    page.locator(".card").first.click()
    assert page.locator("#large-body .of-run").count() == 2
    assert page.locator("#large-body .panel").count() == 10
    figure = page.locator("#large-body figure").first
    before = figure.bounding_box()["width"]
    figure.click()
    assert figure.bounding_box()["width"] > 2 * before
    page.keyboard.press("Escape")
    page.locator("#differences summary").click()
    link = page.locator("#differences .to-gallery").first
    name = link.inner_text()
    link.click()
    assert page.locator(".card").count() == 1
    assert name in page.locator(".card").inner_text()


@pytest.mark.browser
def test_images_are_ordered_by_gain_and_loss(visit, two: Path) -> None:
    page = visit(two).page
    runs = [make_run(count=40, miss=0.15), make_run(count=40, miss=0.05, seed=1)]
    iou = [run.scores.per_image.set_index("image_id")["predicted_iou"] for run in runs]
    gain = iou[1] - iou[0]

    def shown() -> list[str]:
        return [text.split()[-1] for text in page.locator(".card .caption").all_inner_texts()]

    page.select_option("[name=run]", "1")
    page.select_option("[name=against]", "0")
    page.select_option("[name=order]", "gain")
    values = gain[shown()].to_numpy()
    assert (values[:-1] >= values[1:] - 1e-4).all()
    assert values[0] == pytest.approx(gain.max())
    assert "gain +" in page.locator(".card").first.inner_text()
    page.select_option("[name=order]", "loss")
    assert gain[shown()[0]] == pytest.approx(gain.min())


@pytest.mark.browser
def test_filters_are_in_the_address_and_ids_are_saved(visit, two: Path) -> None:
    found = visit(two)
    page = found.page
    page.select_option("[name=run]", "1")
    page.select_option("[name=order]", "best")
    page.fill("[name=from]", "0.5")
    page.locator(".card").nth(2).click()
    address, title = page.url, page.locator("#large-facts").inner_text()
    assert "#gallery?run=1&from=0.5&order=best&image=" in address
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"#gallery\?run=1&from=0.5&order=best$"))
    with page.expect_download() as download:
        page.locator("#save-ids").click()
    ids = Path(download.value.path()).read_text().splitlines()
    assert len(ids) == int(page.locator("#gallery-count").inner_text().split()[0]) < 40
    shown = [text.split()[-1] for text in page.locator(".card .caption").all_inner_texts()]
    assert ids[: len(shown)] == shown
    page.goto("about:blank")
    page.goto(address)
    assert page.locator("#large-facts").inner_text() == title
    assert page.locator("[name=order]").input_value() == "best"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reset").click()
    assert page.url.endswith("#gallery")
    assert page.locator("#gallery-count").inner_text() == "40 of 40 images"
    found.requests[:] = found.requests[-1:]  # the page was opened twice


@pytest.mark.browser
def test_a_confusion_leads_to_its_images(visit, one: Path) -> None:
    page = visit(one).page
    run = make_run(count=60)
    frame = run.scores.per_image
    wrong = frame[frame["predicted"] != frame["label"]]
    row = page.locator("#confusions tbody tr").first
    texts = row.locator("th, td").all_inner_texts()
    assert int(texts[2]) == wrong.groupby(["label", "predicted"]).size().max()
    row.get_by_role("link").click()
    assert page.locator("#gallery-count").inner_text() == f"{texts[2]} of 60 images"
    assert texts[0] in page.locator("#chosen-class").inner_text()
    assert texts[1] in page.locator("#chosen-class").inner_text()
    page.locator("#chosen-class button").click()
    assert page.locator("#gallery-count").inner_text() == "60 of 60 images"
    assert page.locator(".confusion .cell").count() == 25


@pytest.mark.browser
def test_a_slash_leads_to_the_search(visit, one: Path) -> None:
    page = visit(one).page
    page.keyboard.press("/")
    page.keyboard.type("drawn_0007")
    assert page.locator(".card").count() == 1


@pytest.mark.browser
def test_the_page_prints(visit, two: Path) -> None:
    page = visit(two).page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert len(page.pdf()) > 50_000


@pytest.mark.slow
@pytest.mark.browser
def test_a_report_of_fifty_thousand_images_knows_them_all(visit, tmp_path: Path) -> None:
    path = build_report([make_run(count=50_000, classes=1000, both=True)], tmp_path)
    assert path.stat().st_size < 20_000_000
    page = visit(path, width=390).page
    assert page.locator("#gallery-count").inner_text() == "200 of 50000 images"
    rule = page.locator("#gallery > .note").first.inner_text()
    assert rule.startswith("200 of 50,000 images have a picture.")
    assert "Each error kind has its share of the pictures" in rule
    assert page.locator("#class-table tbody tr").count() == 1000
    page.fill("#class-search", "shape 777")
    assert page.locator("#class-count").inner_text() == "1 class"
    page.uncheck("[name=drawn]")
    assert page.locator("#gallery-count").inner_text() == "50000 of 50000 images"
    for order in ("worst", "random", ""):
        page.select_option("[name=order]", order)
        # However many pass the filters, cards are drawn a page at a time.
        assert page.locator(".card").count() == 24
    page.fill("[name=search]", "drawn_49999")
    assert page.locator(".card").count() == 1
    assert "without a picture" in page.locator(".card").inner_text()


@pytest.mark.browser
def test_the_tables_need_no_script(browser: "Browser", one: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(one.as_uri())
    assert page.locator("#class-table tbody tr").count() == 5
    assert "The gallery needs JavaScript" in page.locator("#gallery").inner_text()
    context.close()
