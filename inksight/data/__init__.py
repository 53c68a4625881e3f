"""Data: sources (Quick, Draw!, digits, folders of photos) become one dataset file.

from inksight.data import open_dataset
with open_dataset("inksight-home/datasets/digits.h5") as dataset:
    images, labels = dataset.load("train")        # uint8 (N, H, W[, 3]), int64 (N,)
"""

from inksight.data.dataset import SPLITS, Dataset, DatasetWriter, open_dataset

__all__ = ["SPLITS", "Dataset", "DatasetWriter", "open_dataset"]
