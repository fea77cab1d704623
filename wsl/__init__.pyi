from .errors import WslError as WslError
from .localize.localizer import Localizer as Localizer
from .localize.prediction import Localization as Localization
from .localize.prediction import Prediction as Prediction
from .localize.saliency_map import SaliencyMap as SaliencyMap
from .models.average import ClassifierAverage as ClassifierAverage
from .models.classifier import Classifier as Classifier
from .models.groups import group_classes as group_classes
from .models.groups import read_groups as read_groups
from .models.preprocessing import Preprocessing as Preprocessing
from .models.sources import load_classifier as load_classifier
from .run.config import RunConfig as RunConfig
from .run.config import load_config as load_config
from .run.opened import open_run as open_run
from .run.runner import RunSummary as RunSummary
from .run.runner import run_dataset as run_dataset

__version__: str
