"""The YAML schema of a training run: sections of checked values, read and written whole."""

from medlangevin.config.load import dump_config, load_config, load_run_config, parse_config
from medlangevin.config.model import (
    FlowConfig,
    ImportanceConfig,
    LangevinConfig,
    LikelihoodConfig,
    ModelConfig,
    NetworkConfig,
    PlanarConfig,
)
from medlangevin.config.run import Config, DataConfig, ImagesConfig, TrainingConfig

__all__ = [
    "Config",
    "DataConfig",
    "FlowConfig",
    "ImagesConfig",
    "ImportanceConfig",
    "LangevinConfig",
    "LikelihoodConfig",
    "ModelConfig",
    "NetworkConfig",
    "PlanarConfig",
    "TrainingConfig",
    "dump_config",
    "load_config",
    "load_run_config",
    "parse_config",
]
