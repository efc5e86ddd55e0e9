"""How a VAE is trained: the loop, optimisers, schedules, augmentation, the state to resume from, logs."""
