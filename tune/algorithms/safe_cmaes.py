"""CMA-ES whose state is read back from the journal as data: whoever wrote the journal can make nothing run.

Optuna keeps the optimiser between two proposals as a pickle in an attribute of a trial, and would load
whatever stands there, also that of a run directory which somebody else has sent.
"""

import io
import pickle
from typing import Any

import optuna

from vae.errors import StorageError

NUMPY = {"ndarray", "dtype", "scalar", "_reconstruct", "_frombuffer"}
"""What arrays and numbers are pickled as; the module that has it changes from version to version."""


class CmaEsSampler(optuna.samplers.CmaEsSampler):
    """Optuna's own but for how it loads its state."""

    def _restore_optimizer(self, completed_trials: list[optuna.trial.FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            attributes = trial.system_attrs.items()
            parts = {name: part for name, part in attributes if name.startswith(self._attr_key_optimizer)}
            if parts:
                try:
                    return _Unpickler(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(parts)))).load()
                except (pickle.UnpicklingError, ValueError, KeyError, EOFError) as error:
                    raise StorageError(
                        f"what trial {trial.number} of optuna.journal holds is no state of CMA-ES ({error}); "
                        "the journal is damaged, or not to be trusted"
                    ) from error
        return None


class _Unpickler(pickle.Unpickler):
    """Knows CMA-ES itself and arrays; a pickle runs code by naming something else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("cmaes._cma", "CMA") or (module.split(".")[0] == "numpy" and name in NUMPY):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
