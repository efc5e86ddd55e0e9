"""What a method has to offer to be compared, and what it is planned from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from evaluation.embedders.embedding import Embedder, EmbeddingKey
from vae.errors import UsageError

if TYPE_CHECKING:
    from evaluation.embedders.vae import Vae

DEFAULT_DIMS = (2, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What was asked for and what there is; each method plans its embedders from it."""

    n_pixels: int
    """Values of an image, C·H·W."""
    n_train: int
    vaes: tuple["Vae", ...] = ()
    """The finalists' own models, best first."""
    replicas: tuple["Vae", ...] = ()
    """The finalists as trained anew with fresh seeds."""
    dims: tuple[int, ...] | None = None
    seed: int = 0
    explicit: bool = False
    """Whether the methods were named by the user; a default method that cannot be made is left out."""

    def __post_init__(self) -> None:
        if self.dims and max(self.dims) > self.max_dim:
            raise UsageError(
                f"dims must be <= {self.max_dim}, as {self.n_train} images of {self.n_pixels} pixels allow, "
                f"got {max(self.dims)}"
            )

    @property
    def max_dim(self) -> int:
        """The most dimensions that the training images have."""
        return min(self.n_pixels, self.n_train)

    def dims_up_to(self, limit: int, default: tuple[int, ...] = DEFAULT_DIMS) -> tuple[int, ...]:
        """Return the dimensions asked for, or else the default ones, up to a limit and in order."""
        return tuple(sorted({dim for dim in self.dims or default if dim <= limit}))


class Method(Embedder, Protocol):
    """An embedder with a name, by which it is asked for and under which its embeddings are kept.

    To add one, derive from it and enter the class in `METHODS`.
    """

    name: ClassVar[str]
    """On the command line, in tables and in names of files."""
    title: ClassVar[str]
    """In the report and in figures."""
    description: ClassVar[str]
    """What its embedding is, in a few words for the help of the command line."""
    colour: ClassVar[str]
    """Of its lines in figures."""
    default: ClassVar[bool] = False
    """Whether it is compared without being asked for; further manifold methods would be expensive."""
    needs_vaes: ClassVar[bool] = False
    """Whether it is made of the finalists."""
    is_baseline: ClassVar[bool] = True
    """Whether the best VAE is compared with it."""
    is_picture: ClassVar[bool] = False
    """Whether its two dimensions are drawn among the latent spaces."""
    relative_cost: ClassVar[int] = 1
    on_gpu: ClassVar[bool] = False
    uses_raw_neighbors: ClassVar[bool] = False

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        """Return the embedders to run; none where the request has nothing that they could be made of.

        Raises
        ------
        UsageError
            Something was asked for explicitly that cannot be made.
        """


@dataclass(frozen=True, slots=True)
class Reduction(Method):
    """A manifold method that reduces images to each of ``dims`` dimensions and may be drawn."""

    dims: tuple[int, ...]
    seed: int = 0
    is_picture = True
    relative_cost = 4

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        return [cls(request.dims_up_to(request.max_dim), seed=request.seed)]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey(self.name, dim) for dim in sorted(self.dims))
