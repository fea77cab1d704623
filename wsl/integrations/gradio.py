"""A page in the browser to try images, methods and recipes on a classifier: ``wsl app``.

Needs the extra ``app`` (Gradio). The page runs on this machine and asks no other one for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsl.demo.scene import CATEGORIES, draw_image
from wsl.errors import ConfigError, WslError
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Localization
from wsl.localize.recipes import recipe_names
from wsl.models.average import AnyClassifier
from wsl.saliency.methods import METHODS

if TYPE_CHECKING:
    import gradio


OWN = "as in the recipe"
_COLUMNS = ["class", "rank", "probability", "x0", "y0", "x1", "y1", "pixels", "quality"]


def localize(
    classifier: AnyClassifier,
    image: NDArray[np.uint8],
    *,
    recipe: str = "default",
    method: str = OWN,
    classes: list[str] | None = None,
    top_k: int = 1,
) -> list[Localization]:
    """Localize what the page's fields ask for.

    Parameters
    ----------
    classifier : Classifier or ClassifierAverage
    image : ndarray of uint8, shape (H, W, 3)
    recipe : str
    method : str
        A saliency method, or `OWN`: the recipe's.
    classes : list of str, optional
        By default the classifier's first `top_k`.
    top_k : int
    """
    overrides = {} if method == OWN else {"saliency.method": method}
    return Localizer(classifier, recipe, overrides)(image, classes=classes or None, top_k=top_k)


def build_page(classifier: AnyClassifier, *, recipe: str = "default") -> gradio.Blocks:
    """Build the page.

    Raises
    ------
    ConfigError
        If Gradio is not installed.
    """
    gr = _gradio()

    def answer(
        image: NDArray[np.uint8] | None, recipe: str, method: str, classes: list[str], top_k: float
    ) -> tuple[NDArray[np.uint8], list[list[Any]]]:
        if image is None:
            raise gr.Error("There must be an image: drop one into the field on the left.")
        try:
            found = localize(
                classifier, image, recipe=recipe, method=method, classes=classes, top_k=int(top_k)
            )
        except WslError as error:
            raise gr.Error(str(error)) from error
        return _stacked([each.plot(height=200) for each in found]), [_row(each) for each in found]

    with gr.Blocks(title="wsl", analytics_enabled=False) as page:
        gr.Markdown(f"# wsl\nWhere does **{classifier.name}** see its classes?")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                image = gr.Image(label="image", type="numpy", image_mode="RGB", height=280)
                names = recipe_names()
                chosen = gr.Dropdown(names, value=recipe, label="recipe", allow_custom_value=True)
                method = gr.Dropdown([OWN, *METHODS], value=OWN, label="saliency method")
                classes = gr.Dropdown(
                    list(classifier.categories.names),
                    multiselect=True,
                    label="classes (none: the classifier's first)",
                )
                top_k = gr.Slider(1, 5, value=1, step=1, label="how many first classes")
                start = gr.Button("Localize", variant="primary")
                if classifier.categories.names == CATEGORIES.names:
                    draw = gr.Button("Draw an image")
                    draw.click(_drawn, outputs=image)
            with gr.Column(scale=3, min_width=320):
                picture = gr.Image(
                    elem_id="steps",
                    format="png",
                    interactive=False,
                    show_label=False,  # it would cover the strip's title
                    buttons=["download", "fullscreen"],
                )
                table = gr.Dataframe(headers=_COLUMNS, label="localizations", interactive=False)
        start.click(answer, [image, chosen, method, classes, top_k], [picture, table])
    return page


def serve(
    classifier: AnyClassifier, *, recipe: str = "default", host: str = "127.0.0.1", port: int = 7860
) -> None:
    """Show the page until the process is interrupted."""
    page = build_page(classifier, recipe=recipe)
    page.launch(server_name=host, server_port=port, theme=_theme())


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise ConfigError(
            "the page needs Gradio: pip install 'wsl-localize[app]' installs it"
        ) from error
    return gradio


def _theme() -> Any:
    """Fonts of the system: Gradio's own would be fetched from elsewhere."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return _gradio().themes.Default(**fonts)


def _drawn() -> NDArray[np.uint8]:
    return draw_image(int(np.random.default_rng().integers(10_000)), seed=1).image


def _stacked(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Set pictures one below the other, on white."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255)
        for each in pictures
    ]
    return np.concatenate(padded)


def _row(found: Localization) -> list[Any]:
    box = [""] * 4 if found.box is None else [round(side) for side in found.box]
    quality = "" if found.quality is None else round(found.quality, 2)
    pixels = int(found.mask.sum())
    return [found.category, found.rank, round(found.score, 3), *box, pixels, quality]
