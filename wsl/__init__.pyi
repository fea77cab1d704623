from .errors import WslError as WslError
from .localize.localizer import Localizer as Localizer
from .models.classifier import Classifier as Classifier
from .models.sources import load_classifier as load_classifier
from .run.config import RunConfig as RunConfig
from .run.config import load_config as load_config
from .run.runner import run_dataset as run_dataset

__version__: str
