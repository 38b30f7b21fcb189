"""The cache that ``datasets.load_dataset`` leaves after a download from the Hub, filled without network."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from datasets.naming import camelcase_to_snakecase
from datasets.packaged_modules.parquet.parquet import Parquet


def fill(cache: Path, name: str, config: str, splits: dict[str, Dataset]) -> None:
    """Put a data set into a cache.

    Args:
        cache: What ``datasets.config.HF_DATASETS_CACHE`` will name.
        name: The Hub's name, ``owner/name``.
        config: The configuration; ``default`` for sets that have none.
        splits: Split -> its rows, with the true features.
    """
    folder = cache / "files" / name / config
    folder.mkdir(parents=True)
    files = {split: [str(folder / f"{split}.parquet")] for split in splits}
    for split, rows in splits.items():
        rows.to_parquet(files[split][0])
    features = next(iter(splits.values())).features
    owner, _, short = name.partition("/")
    short = camelcase_to_snakecase(short)
    builder = Parquet(cache_dir=str(cache), dataset_name=short, config_name=config, data_files=files, features=features)
    builder.download_and_prepare(str(cache / f"{owner}___{short}" / config / "0.0.0" / ("0" * 40)))
