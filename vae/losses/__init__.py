"""What is minimised: the ELBO with its reconstruction losses, SSIM, and the balance of their parts."""

from vae.losses.balance import Balance
from vae.losses.elbo import LossTerms, vae_loss
from vae.losses.ssim import ssim

__all__ = ["Balance", "LossTerms", "ssim", "vae_loss"]
