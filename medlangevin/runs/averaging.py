"""An exponential moving average of the weights, which is smoother than the weights of any one step."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medlangevin.models import LatentVariableModel


class WeightAverage:
    """Follows a model: average <- ``decay`` average + (1 - ``decay``) weights after each step, the first as they are.

    Buffers, such as the LAE's Phi, are averaged as well.

    Args:
        model: The model that is trained.
        decay: In [0, 1); with 0 there is no average, and ``model`` is the trained model itself.
    """

    def __init__(self, model: LatentVariableModel, decay: float) -> None:
        self._model = model
        self._average: AveragedModel | None = None
        if decay > 0:
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def model(self) -> LatentVariableModel:
        """The model to validate, to draw from and to keep."""
        if self._average is None:
            return self._model
        module = self._average.module
        assert isinstance(module, LatentVariableModel)  # a copy of what it was made of
        return module

    def update(self) -> None:
        """Take in the weights after one more step."""
        if self._average is not None:
            self._average.update_parameters(self._model)

    def state(self) -> dict[str, torch.Tensor]:
        """What a resume needs.

        Returns:
            Tensors by name; empty where there is no average.
        """
        return {} if self._average is None else self._average.state_dict()

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what ``state`` gave.

        Args:
            state: The tensors.

        Raises:
            RuntimeError: They do not fit.
            KeyError: They do not fit.
        """
        if self._average is not None:
            self._average.load_state_dict(state)
