"""Arguments that several commands have."""

import argparse
from pathlib import Path


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the data set, None by default, and what `add_place_arguments` does."""
    parser.add_argument("--dataset", help="fmnist, mnist, digits or a path (default: fmnist)")
    add_place_arguments(parser)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where data are and where to compute."""
    parser.add_argument(
        "--data-dir", type=Path, help="where data sets are kept (default: $VAE_DATA_DIR or ./data)"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda if there is one)")
    parser.add_argument("--verbose", action="store_true", help="log details")
