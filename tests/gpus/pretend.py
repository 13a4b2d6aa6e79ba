"""A pretend CUDA device: its tensors say `cuda:0` and their values lie in CPU memory, so the code that trains runs on
it unchanged, with real numbers, through torch's choice of kernels for CUDA. It counts what a card would be asked for,
and notes what a card would refuse.

It needs the library of `cuda.c` to be preloaded, so it lives in a process of its own.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.gpus.counting import FREE, INDEXING, UNORDERED, WAITING, Counts
from tests.gpus.streams import Graph, Moment

CARD = torch.device("cuda", 0)
CPU = torch.device("cpu")
NAME = "a pretend card"


class OnCard(torch.Tensor):
    """A tensor that says it is on the card; `held`, on the CPU, has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> "OnCard":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=CARD,
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _CARD.call(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"OnCard({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnCard":
        if id(self) not in memo:
            copied = OnCard(self.held.detach().clone(), self.requires_grad)
            if getattr(self, "_is_param", False):
                copied._is_param = True
            memo[id(self)] = copied
        found: OnCard = memo[id(self)]
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved as what it is on the CPU, which the card must be waited for."""
        _CARD.counts.copies += 1
        _CARD.counts.wait("torch.save")
        return self.held.detach().clone().__reduce_ex__(protocol)


class Card:
    """Carries out operations of tensors on the card, one at a time, and counts them."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.generator = torch.Generator()
        self.pinned: weakref.WeakValueDictionary[int, torch.Tensor] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()

    def call(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The operation, whatever devices it names and its tensors are on."""
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        on_card = [one for one in tensors if isinstance(one, OnCard)]
        device = kwargs.get("device")
        if not on_card and (device is None or torch.device(device).type != CARD.type):
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        with self._lock:
            if name in ("copy_", "_to_copy"):
                return self._copied(func, name, args, kwargs)
            return self._computed(func, name, args, kwargs, tensors)

    def _copied(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        is_in_place = name == "copy_"
        source = args[1] if is_in_place else args[0]
        asked = kwargs.get("device")
        from_card = isinstance(source, OnCard)
        to_card = (
            isinstance(args[0], OnCard)
            if is_in_place
            else from_card
            if asked is None
            else torch.device(asked).type == CARD.type
        )
        if from_card and to_card:
            self.counts.launch(name)
        else:
            self.counts.copies += 1
            # nor does a copy begin at once from memory that may be paged out
            is_pinned = from_card or id(source) in self.pinned
            if not (is_pinned and (kwargs.get("non_blocking") or args[2:] == (True,))):
                self.counts.wait("copy to the CPU" if from_card else "copy to the card")
        if is_in_place:
            _held(args[0]).copy_(_held(source))
            return args[0]
        held = _held(source)
        copied = func(held, **{key: value for key, value in kwargs.items() if key != "device"})
        copied = copied.clone() if copied is held else copied
        return OnCard(copied) if to_card else copied

    def _computed(
        self,
        func: Any,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        tensors: Sequence[torch.Tensor],
    ) -> Any:
        self._judge(func, name, args, kwargs, tensors)
        if not FREE.fullmatch(name):
            self.counts.launch(name)
        given = dict(tree_map(_held, kwargs))
        if given.get("device") is not None:
            given["device"] = CPU
        given.pop("pin_memory", None)
        operation = _ON_CPU.get(name, func)
        values = tree_map(_held, args)
        if torch.Tag.nondeterministic_seeded in func.tags and given.get("generator") is None:
            with self._drawing():
                found = operation(*values, **given)
        else:
            found = operation(*values, **given)
        wrappers = {id(one.held): one for one in tensors if isinstance(one, OnCard)}

        def on_card(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or name == "_local_scalar_dense":
                return value
            known = wrappers.get(id(value))
            if known is None:
                return OnCard(value)
            if (
                known.shape != value.shape
            ):  # other strides of a pooled map of one pixel change nothing
                raise NotImplementedError(f"{name} changes a tensor's shape in place")
            return known

        return tree_map(on_card, found)

    def _judge(
        self,
        func: Any,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        tensors: Sequence[torch.Tensor],
    ) -> None:
        """Note what a card would refuse, or wait for."""
        on_cpu = [one for one in tensors if not isinstance(one, OnCard)]
        # a number may lie on the CPU where elements are calculated one by one
        takes_numbers = torch.Tag.pointwise in func.tags or name.startswith(("_foreach", "_fused"))
        for one in on_cpu:
            if one.dim() > 0 or not takes_numbers:
                self.counts.fault(
                    f"{name} mixes devices: a tensor {tuple(one.shape)} is on the CPU"
                )
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != CARD.type:
            self.counts.fault(f"{name} on the card is given a generator of the CPU")
        if UNORDERED.fullmatch(name):
            self.counts.fault(f"{name} has no deterministic form on CUDA")
        masks = args[1] if INDEXING.fullmatch(name) else ()
        if WAITING.fullmatch(name) or any(
            mask is not None and mask.dtype == torch.bool for mask in masks
        ):
            self.counts.wait(name)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Random numbers come from the card's own generator; the CPU's stays as it is."""
        ours = torch.get_rng_state()
        torch.set_rng_state(self.generator.get_state())
        try:
            yield
        finally:
            self.generator.set_state(torch.get_rng_state())
            torch.set_rng_state(ours)


class _Made(TorchDispatchMode):
    """Sees what is made on the card from nothing, or from what is on the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _CARD.call(func, args, kwargs or {})


class _Asked(TorchFunctionMode):
    """What torch's C++ does below all dispatch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.pin_memory:
            pinned = args[0].clone()
            _CARD.pinned[id(pinned)] = pinned
            return pinned
        if func is torch.Tensor.tolist and isinstance(args[0], OnCard):
            return args[0].cpu().tolist()
        if func is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        return func(*args, **kwargs)


def _batch_norm(*args: Any) -> Any:
    inputs, weight, bias, mean, var, training, momentum, eps = args
    found = torch.ops.aten.native_batch_norm(
        inputs, weight, bias, mean, var, training, momentum, eps
    )
    return (*found, torch.empty(0, dtype=torch.uint8))


def _batch_norm_backward(*args: Any) -> Any:
    inputs, gradient, weight, mean, var, saved_mean, saved_var, eps, _ = args
    return torch.ops.aten.native_batch_norm_backward(
        gradient, inputs, weight, mean, var, saved_mean, saved_var, True, eps, [True, True, True]
    )


_ON_CPU = {
    "cudnn_batch_norm": _batch_norm,
    "cudnn_batch_norm_backward": _batch_norm_backward,
}
"""What only CUDA has, by what the CPU has for it."""
_CARD = Card()


@contextmanager
def pretended() -> Iterator[Card]:
    """While it lasts, torch has one CUDA device. Whatever trains must be imported within."""
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    properties = SimpleNamespace(major=9, minor=0, multi_processor_count=132)
    answers = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_name": lambda *_: NAME,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_properties": lambda *_: properties,
        "set_per_process_memory_fraction": lambda *_: None,
        "mem_get_info": lambda *_: (8 << 30, 16 << 30),
        "CUDAGraph": Graph,
        "graph": lambda *_, **__: nullcontext(),
        "Stream": Moment,
        "stream": lambda *_: nullcontext(),
        "current_stream": lambda *_: Moment(),
        "Event": Moment,
        "synchronize": lambda *_: _CARD.counts.wait("synchronize"),
        "manual_seed_all": lambda seed: _CARD.generator.manual_seed(seed),
        "get_rng_state": lambda *_: _CARD.generator.get_state(),
        "set_rng_state": lambda state, *_: _CARD.generator.set_state(state),
    }
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as until_end:
        for name, answer in answers.items():
            until_end.enter_context(mock.patch.object(torch.cuda, name, answer))
        # inference tensors have no place for a wrapper's versions; the decorators ask when they are loaded
        until_end.enter_context(mock.patch.object(torch, "inference_mode", torch.no_grad))
        # its tensors cannot take another's place, as `Module.to` has it otherwise
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        until_end.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        until_end.enter_context(_Made())
        until_end.enter_context(_Asked())
        yield _CARD


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnCard) else value
