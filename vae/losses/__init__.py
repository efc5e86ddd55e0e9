"""What is minimised: the ELBO with its reconstruction losses, SSIM, and the balance of their parts."""
