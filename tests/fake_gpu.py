"""A GPU that is not there: its tensors compute on the CPU and behave as if on another device.

An operation raises if it mixes tensors of the GPU with tensors of the CPU. Whatever would make the program
wait for a GPU, a value that is read or a copy between the two, is recorded. What a GPU computes, how fast and
in how much memory, cannot be learnt from it.

To be used in a process of its own, since torch cannot forget a device:

    with FakeGpu() as gpu:
        train(config, images, validation, device=DEVICE)
    print(gpu.waits)
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "fakegpu"
PROJECT = str(Path(__file__).parents[1] / "vae")

aten = torch.ops.aten
SHAPED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}
"""Operations whose result on a GPU is known to the program only when the GPU is done."""
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations on a GPU that take indices from the CPU, and copy them."""
LOWERED = {"linear": "default", "matmul": "default", "conv2d": "default", "conv_transpose2d": "input"}
"""Operations that autocast computes in the lower precision, with their overloads: those of the models."""


class _Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend(DEVICE, backend_module=_Module())


class DeviceMismatch(RuntimeError):
    """An operation on tensors of the GPU and of the CPU, which a GPU refuses."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A moment at which the program would wait for the GPU."""

    function: str
    """Of this project, that waits."""
    operation: str


class GpuTensor(Tensor):
    """A tensor that says it is on the GPU, and holds one of the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "GpuTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(DEVICE, 0),
        )
        made.held = held
        return made

    is_cuda = True

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return FakeGpu.current().dispatch(func, args, kwargs or {})

    def tolist(self) -> Any:
        FakeGpu.current().wait("tolist")
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> NoReturn:
        raise TypeError("can't convert a GPU's tensor to numpy. Use Tensor.cpu() to copy the tensor first")

    __array__ = numpy

    def __repr__(self) -> str:
        return f"GpuTensor({self.held!r})"


class GpuGenerator(torch.Generator):
    """A generator that says it is the GPU's."""

    device = torch.device(DEVICE, 0)  # type: ignore[assignment]
    made: ClassVar[dict[int, "GpuGenerator"]] = {}
    """By where they lie: torch hands an operation another object for the same generator."""

    def __init__(self) -> None:
        self.made[self._cdata] = self


class FakeGpu(TorchDispatchMode):
    """Within it the device `DEVICE` exists; ``waits`` are the moments at which a GPU would be waited for."""

    _current: "FakeGpu | None" = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch imports it: seconds

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[Wait] = []

    @classmethod
    def current(cls) -> "FakeGpu":
        assert cls._current is not None, "a tensor of the GPU is used outside of `with FakeGpu()`"
        return cls._current

    def __enter__(self) -> "FakeGpu":
        FakeGpu._current = self
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(…, device=DEVICE)` copies from the CPU
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)
        FakeGpu._current = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.dispatch(func, args, kwargs or {})

    def wait(self, operation: str) -> None:
        """Record a wait, for the innermost function of this project."""
        frame = sys._getframe(1)
        while frame.f_back and not frame.f_code.co_filename.startswith(PROJECT):
            frame = frame.f_back
        self.waits.append(Wait(frame.f_code.co_name, operation))

    def dispatch(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run one operation on the tensors that are held, if it is one that a GPU would run."""
        name = func.overloadpacket.__name__
        tensors: list[Tensor] = []
        _map_tensors(tensors.append, (args, kwargs))
        on_gpu = [t for t in tensors if isinstance(t, GpuTensor)]
        on_cpu = [t for t in tensors if not isinstance(t, GpuTensor)]
        device = kwargs.get("device")
        to_gpu = bool(on_gpu) if device is None else torch.device(device).type == DEVICE
        copied = name in ("_to_copy", "copy_") and (bool(on_cpu) or not to_gpu)
        if on_gpu and on_cpu and not copied:
            self._check_mixed(name, func, on_cpu)
        if name == "_local_scalar_dense" and on_gpu:
            self.wait("item")
            to_gpu = False
        elif on_gpu and (name in SHAPED_BY_VALUES or (name in INDEXING and _index_waits(tensors))):
            self.wait(name)
        elif copied and (on_gpu or to_gpu):
            self.wait("copy to the GPU" if to_gpu else "copy to the CPU")
        self._check_generator(name, kwargs, to_gpu)
        if name.startswith("_fused_"):
            _check_layouts(name, args)
        held_args, held_kwargs = _map_tensors(_held, (args, kwargs))
        if device is not None:
            held_kwargs["device"] = torch.device("cpu")
        result = func(*held_args, **held_kwargs)
        given = {id(t.held): t for t in on_gpu}  # an operation in place returns what it was given
        if not to_gpu:
            return result
        return _map_tensors(lambda t: given[id(t)] if id(t) in given else GpuTensor(t), result)

    def _check_mixed(self, name: str, func: Any, on_cpu: list[Tensor]) -> None:
        scalars = torch.Tag.pointwise in func.tags and all(t.ndim == 0 for t in on_cpu)
        if not scalars and name not in INDEXING:
            raise DeviceMismatch(f"{name} of tensors on the GPU and on the CPU")

    def _check_generator(self, name: str, kwargs: dict[str, Any], to_gpu: bool) -> None:
        generator = kwargs.get("generator")
        if generator is not None and (generator._cdata in GpuGenerator.made) != to_gpu:
            raise DeviceMismatch(f"{name} with a generator of the other device")


def _index_waits(tensors: list[Tensor]) -> bool:
    """Whether an index is copied to the GPU, or is a mask, whose size must be known."""
    return any(not isinstance(t, GpuTensor) or t.dtype == torch.bool for t in tensors[1:])


def _held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, GpuTensor) else tensor


def _map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return what an operation takes or returns with a function applied to its tensors."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(function, each) for each in value)
    if isinstance(value, dict):
        return {name: _map_tensors(function, each) for name, each in value.items()}
    return value


def _check_layouts(name: str, args: Any) -> None:
    """Fused optimisers walk parameters, gradients and moments by memory."""
    for parameter, *others in zip(*[group for group in args[:4] if group], strict=False):
        for other in others:
            strides = zip(parameter.shape, parameter.stride(), other.stride(), strict=False)
            if other.shape == parameter.shape and any(a != b for n, a, b in strides if n > 1):
                raise RuntimeError(f"{name}: a parameter and its moments lie differently in memory")


def _lowered(name: str, overload: str) -> Callable[..., Tensor]:
    operation = getattr(getattr(aten, name), overload)
    autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def run(*args: Any, **kwargs: Any) -> Tensor:
        lower = [
            a.to(torch.bfloat16) if isinstance(a, Tensor) and a.dtype == torch.float32 else a for a in args
        ]
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            result: Tensor = operation(*lower, **kwargs)
            return result

    return run


_usual_generator = torch.Generator


class _Generator(_usual_generator):
    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        return GpuGenerator() if torch.device(device).type == DEVICE else _usual_generator(device)


torch.Generator = _Generator  # type: ignore[misc]
_foreach_supported_types.append(GpuTensor)
_fallback = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
_fallback.fallback(torch.library.fallthrough_kernel)
_library = torch.library.Library("aten", "IMPL")
for _name, _overload in LOWERED.items():
    _kernel = _lowered(_name, _overload)
    _library.impl(f"{_name}.{_overload}".removesuffix(".default"), _kernel, "AutocastPrivateUse1")
