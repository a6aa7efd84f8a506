"""The YAML schema of a training run: sections of checked values, read and written whole."""

from medlangevin.config.load import dump_config, load_config, parse_config
from medlangevin.config.model import ModelConfig
from medlangevin.config.run import Config, DataConfig, ImagesConfig, TrainingConfig

__all__ = [
    "Config",
    "DataConfig",
    "ImagesConfig",
    "ModelConfig",
    "TrainingConfig",
    "dump_config",
    "load_config",
    "parse_config",
]
