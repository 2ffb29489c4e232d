"""What every verb can be told: one typed dataclass a verb, from which flags, YAML and help follow.

Nothing here imports torch, so that ``--help`` answers at once. Defaults are the paper's (TinyBERT,
section 4.2) unless the help text says otherwise.
"""

from tinybert.settings.augment import AugmentChoices, AugmentSettings
from tinybert.settings.base import Checked, setting
from tinybert.settings.bench import BenchSettings
from tinybert.settings.corpus import CorpusBuildSettings, CorpusShowSettings
from tinybert.settings.embedder import EmbedderSettings
from tinybert.settings.export import ExportSettings
from tinybert.settings.general import GeneralSettings
from tinybert.settings.mlm import MlmSettings
from tinybert.settings.models import ConvertSettings, EvaluateSettings, PredictSettings
from tinybert.settings.multitask import MultitaskSettings
from tinybert.settings.page import PageSettings
from tinybert.settings.report import ReportSettings
from tinybert.settings.reproduce import ReproduceSettings
from tinybert.settings.shared import (
    Attention,
    DataSettings,
    LossSettings,
    Precision,
    QuestionSettings,
    RowSettings,
    RunSettings,
    StageSettings,
    Start,
    StudentSettings,
    Transfer,
)
from tinybert.settings.systems import ProfileSettings, SystemsSettings, SystemsShowSettings
from tinybert.settings.tasks import (
    DemoSettings,
    DistillSettings,
    FinetuneSettings,
    GlueSettings,
    SizeSettings,
)
from tinybert.settings.trim import TrimSettings

__all__ = [
    "Attention",
    "AugmentChoices",
    "AugmentSettings",
    "BenchSettings",
    "Checked",
    "ConvertSettings",
    "CorpusBuildSettings",
    "CorpusShowSettings",
    "DataSettings",
    "DemoSettings",
    "DistillSettings",
    "EmbedderSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FinetuneSettings",
    "GeneralSettings",
    "GlueSettings",
    "LossSettings",
    "MlmSettings",
    "MultitaskSettings",
    "PageSettings",
    "Precision",
    "PredictSettings",
    "ProfileSettings",
    "QuestionSettings",
    "ReportSettings",
    "ReproduceSettings",
    "RowSettings",
    "RunSettings",
    "SizeSettings",
    "StageSettings",
    "Start",
    "StudentSettings",
    "SystemsSettings",
    "SystemsShowSettings",
    "Transfer",
    "TrimSettings",
    "setting",
]
