"""Loss balancing: the KL term in proportion to the reconstruction loss, by running means of both."""

import torch
from torch import Tensor

DECAY = 0.99
"""Of the running means, per step: they remember some hundred steps."""


class Balance:
    """Running means of reconstruction loss and KL divergence.

    The ratio of the two is the scale that makes one unit of KL weight mean the same for every loss and image
    size. Without a bound it would run away: the less information, the larger the weight on the remainder,
    until the posterior has collapsed. So the KL divergence counts as at least one nat per latent dimension.
    """

    def __init__(self, means: Tensor | None = None, device: str | torch.device = "cpu") -> None:
        self.means = torch.full((2,), torch.nan, device=device) if means is None else means
        """Reconstruction loss and KL divergence (2,); NaN before the first step."""

    def update(self, reconstruction: Tensor, kl: Tensor, latent_dim: int) -> Tensor:
        """Update the means with the losses of one batch and return the factor on the KL weight (scalars)."""
        values = torch.stack((reconstruction, kl)).detach()
        # In place, so that a step that is captured and replayed remembers them.
        self.means.copy_(torch.where(self.means.isnan(), values, DECAY * self.means + (1 - DECAY) * values))
        return self.means[0] / self.means[1].clamp_min(latent_dim)
