"""`python -m vae embed`: images from anywhere, in chunks, into one Parquet file of embeddings."""

import argparse
import logging
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vae.api import load
from vae.atomic import replaced_file
from vae.command_line import plain_console
from vae.data.stream import stream_images
from vae.errors import UsageError, count_text
from vae.inference import embed_and_measure
from vae.trained_vae import TrainedVAE

logger = logging.getLogger(__name__)

ROWS_PER_GROUP = 65_536
SECONDS_PER_LINE = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `embed_command`."""
    parser.add_argument("model", help="run of a search (its best trial), run of a training or checkpoint")
    parser.add_argument(
        "images",
        help="folder of images, Parquet or .npy files, .npz, .npy, .parquet or image file, fmnist, mnist or "
        "digits",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


def embed_command(arguments: argparse.Namespace) -> int:
    """Embed all images of a source with one model."""
    output: Path = arguments.output
    check_output(output)
    model = load(arguments.model, arguments.device)
    started = time.perf_counter()
    n = embed_file(model, arguments.images, output, data_dir=arguments.data_dir)
    seconds = time.perf_counter() - started
    print(
        f"{count_text(n, 'image')} in {count_text(model.config.model.latent_dim, 'dimension')}: {output} "
        f"({seconds:.1f} s, {n / seconds:,.0f} images/s on {model.device})"
    )
    return 0


def check_output(output: Path) -> None:
    """Raise a UsageError unless a Parquet file of that name can be written and none is there."""
    if output.suffix != ".parquet":
        raise UsageError(f"--output must be a .parquet file, got {output}")
    if output.exists():
        raise UsageError(f"{output} exists already; delete it or choose another name")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}, where {output.name} would go, is no folder; make it first")


def embed_file(model: TrainedVAE, source: str | Path, output: Path, *, data_dir: Path | None = None) -> int:
    """Write one row for each image of a source and return how many there are.

    The columns are ``source``, what `vae.data.stream.stream_images` calls the image; ``embedding``, its
    posterior mean; and ``reconstruction_mse``, see `vae.inference.MeasuredEmbedding`. The file appears when
    it is whole.

    Raises
    ------
    UsageError
        There are no such images, or they are not of the model's size.
    StorageError
        Images cannot be read, or the file cannot be written.
    """
    stream = stream_images(source, model.image_shape, data_dir, resize=model.resize)
    dim = model.config.model.latent_dim
    schema = pa.schema(
        {"source": pa.string(), "embedding": pa.list_(pa.float32(), dim), "reconstruction_mse": pa.float32()}
    )
    n_done = 0
    with (
        _ImageProgress(stream.n_images) as progress,
        replaced_file(output) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        waiting: list[pa.RecordBatch] = []
        for chunk in stream.chunks:
            embedded = embed_and_measure(model.model, chunk.images.to(model.device))
            values = pa.array(embedded.latents.cpu().numpy().reshape(-1))
            waiting.append(
                pa.record_batch(
                    [
                        pa.array(chunk.sources),
                        pa.FixedSizeListArray.from_arrays(values, dim),
                        pa.array(embedded.reconstruction_mse.cpu().numpy()),
                    ],
                    schema=schema,
                )
            )
            n_done += len(chunk.images)
            progress.show(n_done)
            if sum(map(len, waiting)) >= ROWS_PER_GROUP or n_done == stream.n_images:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
    return n_done


class _ImageProgress(Progress):
    """Shows on stderr how many images are done: a bar in a terminal, else a line now and then."""

    def __init__(self, n_images: int) -> None:
        console = plain_console(stderr=True)
        super().__init__(
            TextColumn("images"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._n_images = n_images
        self._bar = self.add_task("", total=n_images)
        self._last_line = time.perf_counter()

    def show(self, n_done: int) -> None:
        self.update(self._bar, completed=n_done)
        now = time.perf_counter()
        if self.disable and now - self._last_line > SECONDS_PER_LINE:
            self._last_line = now
            logger.info("%s of %s images", f"{n_done:,}", f"{self._n_images:,}")
