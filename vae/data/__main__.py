"""`python -m vae.data NAME`: get the files of a data set and verify them."""

from pathlib import Path

from vae.command_line import Parser, configure_logging, run
from vae.data.download import ARCHIVES, locate, read_verified


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="python -m vae.data", description="Get a data set's files and verify them.")
    parser.add_argument("dataset", help=f"{', '.join(ARCHIVES)}; anything else needs no download")
    parser.add_argument("--data-dir", type=Path, help="where data lives (default: $VAE_DATA_DIR, else data)")
    options = parser.parse_args(arguments)
    configure_logging(verbose=False)
    if options.dataset not in ARCHIVES:
        print(f"{options.dataset}: nothing to download")
        return
    archive = ARCHIVES[options.dataset]
    directory = locate(options.dataset, options.data_dir)
    for file, checksums in archive.checksums.items():
        read_verified(directory / file, checksums)
    print(f"{archive.title}: {len(archive.checksums)} files in {directory}, checksums right")


if __name__ == "__main__":
    run(main)
