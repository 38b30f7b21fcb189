"""A configuration as one checked object."""

from shared.finetune.config.loading import (
    Config,
    SftSection,
    TrainingSection,
    check,
    find_problems,
    load_config,
    read,
    valid_part,
)

__all__ = ["Config", "SftSection", "TrainingSection", "check", "find_problems", "load_config", "read", "valid_part"]
