"""The model card beside a checkpoint: a `README.md` as Hugging Face lays it out, from plain values."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vae.atomic import write_text
from vae.config import Config
from vae.errors import StorageError

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A metric of the model; of a share of ``n_images`` the card gives Wilson's 95 % interval too."""

    metric: str
    images: str
    """On which images it was measured."""
    value: float
    n_images: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """What a card says. Names may hold anything; they are escaped."""

    name: str
    config: Config
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    resize: int | None = None
    n_parameters: int | None = None
    dataset: str
    fingerprint: str | None
    chosen: Sequence[str]
    """Paragraphs in Markdown: how it was trained and chosen."""
    scores: Sequence[Score] = ()

    def with_scores(self, scores: Sequence[Score]) -> "ModelCard":
        """Return the card with further scores."""
        return replace(self, scores=(*self.scores, *scores))

    @property
    def text(self) -> str:
        """The card in Markdown.

        Examples
        --------
        >>> card = ModelCard(name="a*b", config=Config(), image_shape=(1, 8, 8), dataset="digits",
        ...     fingerprint=None, chosen=(), scores=[Score(metric="val_ssim", images="x", value=0.5)])
        >>> card.text.splitlines()[6]
        '# a\\\\*b'
        """
        channels, height, width = self.image_shape
        model, params = self.config.model, self.config.to_params()
        accuracy = "metrics: [accuracy]\n" if any("accuracy" in s.metric for s in self.scores) else ""
        size = f"{height}×{width} pixels, {'grey' if channels == 1 else 'colour'}"
        resized = "" if self.resize is None else f", resized to {self.resize} pixels a side"
        count = "" if self.n_parameters is None else f", {self.n_parameters:,} parameters"
        known = "not known" if self.fingerprint is None else f"`{self.fingerprint}`"
        sections = [
            f"---\nlibrary_name: vae-search\npipeline_tag: image-feature-extraction\n"
            f"tags: [variational-autoencoder, vae, embeddings]\n{accuracy}---",
            f"# {escape(self.name)}",
            f"A variational autoencoder, `{model.architecture}`{count}, that embeds images in "
            f"{model.latent_dim} dimensions.",
            f'## Use\n\n```python\nimport vae\n\nmodel = vae.load(".")  # this folder\n'
            f'latents = model.embed("photos/")  # or arrays (n, {height}, {width}'
            f"{', 3' if channels == 3 else ''}); float32 (n, {model.latent_dim})\n```",
            f"## Data\n\n{escape(self.dataset)}: {size}{resized}. Fingerprint of images and labels: {known}.",
            "## How it was trained and chosen",
            *self.chosen,
        ]
        if self.scores:
            sections += ["## Scores", _table(self.scores)]
        rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in params.items())
        sections.append(f"## Hyperparameters\n\n| name | value |\n|---|---|\n{rows}")
        return "\n\n".join(sections) + "\n"


def write_card(directory: Path, card: ModelCard) -> None:
    """Write a card into the directory of a checkpoint; a failure is logged, since the model is worth more."""
    try:
        write_text(card.text, directory / CARD_FILE)
    except StorageError as error:
        logger.warning("no model card: %s", error)


def escape(text: str) -> str:
    """Return text as it is, whatever Markdown would make of it, on one line.

    Examples
    --------
    >>> print(escape("a_b<c>"))
    a\\_b\\<c\\>
    """
    return re.sub(r"([\\`*_\[\]<>|#~$!])", r"\\\1", " ".join(text.split()))


def _table(scores: Sequence[Score]) -> str:
    rows = [f"| {escape(s.metric)} | {escape(s.images)} | {s.value:.4g} | {_interval(s)} |" for s in scores]
    return "\n".join(["| metric | images | value | 95 % interval |", "|---|---|---|---|", *rows])


def _interval(score: Score) -> str:
    if not score.n_images:
        return "–"
    from scipy import stats

    n = score.n_images
    found = stats.binomtest(round(score.value * n), n).proportion_ci(method="wilson")
    return f"{found.low:.4f} to {found.high:.4f} ({n:,} images)"


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return escape(text) or "–"
