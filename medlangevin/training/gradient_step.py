"""One gradient step: the loss in the forward of the wrapped module, its gradients, clipping, and the update."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from medlangevin.training.fabric import Fabric
from medlangevin.training.gpu import Recorded
from medlangevin.training.learner import Learner


class Gradients(NamedTuple):
    """What is known of gradients that were just made; the next ones overwrite it.

    Attributes:
        figures: (n,) float64: the loss, its parts, and the norm of the gradient before it was clipped.
        is_finite: A 0-d tensor: whether loss and norm are.
    """

    figures: Tensor
    is_finite: Tensor


class GradientStep:
    """``make`` makes a batch's gradients, clipped, and ``update`` follows them.

    The loss is made inside the forward of the module that Fabric set up, with all its Langevin steps, as a distributed
    wrapper would miss gradients made elsewhere. If the learner is recorded, both halves are CUDA graphs after a few
    steps.

    Attributes:
        names: Those of the figures, once there are any.
    """

    def __init__(self, fabric: Fabric, learner: Learner, generator: torch.Generator, *, gradient_clip: float) -> None:
        """Set the model up for its device.

        Args:
            fabric: The devices.
            learner: The model, on its device, and its optimiser.
            generator: The only source of noise.
            gradient_clip: The norm that gradients are clipped to.
        """
        self._fabric, self._model, self._generator = fabric, learner.model, generator
        self._wrapped: Any
        self._wrapped, self._optimizer = fabric.setup(learner.model, learner.optimizer)
        self._gradient_clip = gradient_clip
        self.names: tuple[str, ...] = ()
        self._enabled = learner.recorded
        self.forget_recording()

    def forget_recording(self) -> None:
        """Record the next steps anew, where steps are recorded: the model computes otherwise from now on."""
        self._recorded_gradients: list[Tensor | None] = []
        self._record_make = Recorded(self._make, [self._generator], enabled=self._enabled)
        self._record_update = Recorded(self._optimizer.step, enabled=self._enabled)

    def make(self, x: Tensor, *, weight: float = 1.0) -> Gradients:
        """The gradients of the loss, left at the parameters; of several processes' the mean.

        Args:
            x: Images (n, C, *spatial).
            weight: What this process's part of a batch counts in the mean over processes.

        Returns:
            The figures of the loss.
        """
        if weight != 1 or not self._record_make.takes(x):
            return self._make(x, weight)
        if self._record_make.is_recorded:
            for parameter, gradient in zip(self._model.parameters(), self._recorded_gradients, strict=True):
                parameter.grad = gradient  # a smaller batch has put others there
        gradients = self._record_make(x)
        if self._record_make.is_recorded:
            self._recorded_gradients = self._parameter_gradients()
        return gradients

    def update(self) -> None:
        """Move the parameters along the gradients that were made."""
        made = zip(self._parameter_gradients(), self._recorded_gradients, strict=False)
        if self._record_make.is_recorded and all(gradient is recorded for gradient, recorded in made):
            self._record_update()
        else:  # those of a batch of another size, or of the first steps
            self._optimizer.step()

    def _make(self, x: Tensor, weight: float = 1.0) -> Gradients:
        self._optimizer.zero_grad()
        loss, parts = self._wrapped(x, self._generator)
        self._fabric.backward(weight * loss)
        norm = get_total_norm([gradient for gradient in self._parameter_gradients() if gradient is not None])
        # On the device a factor of one costs less than to wait for the answer.
        if norm.device.type != "cpu" or norm > self._gradient_clip:
            clip_grads_with_norm_(self._model.parameters(), self._gradient_clip, norm)
        self.names = ("loss", *parts, "gradient_norm")
        figures = torch.stack([value.detach().double() for value in (loss, *parts.values(), norm)])
        return Gradients(figures, figures[0].isfinite() & figures[-1].isfinite())

    def _parameter_gradients(self) -> list[Tensor | None]:
        return [parameter.grad for parameter in self._model.parameters()]
