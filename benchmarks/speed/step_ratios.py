"""How many times a VAE's gradient step the other models' steps take: interleaved in one process, medians of ratios.

    python benchmarks/speed/step_ratios.py [--steps 25]

One thread. With Pythae installed (pip install --no-deps pythae cloudpickle imageio scikit-learn joblib) its VAE and its
HVAE are measured on the same networks, the HVAE also with the second-order gradient that it leaves out by itself.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from step_time import CONV5, FLOW, MLP, TEMPERED
from torch import Tensor, nn

from medlangevin.config import parse_config
from medlangevin.models import LatentVariableModel, build
from medlangevin.models.vae import AmortizedModel

SHAPE, BATCH = (1, 28, 28), 100
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=25)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0)).round()
    conv: dict[str, dict[str, Any]] = {
        "VAE": {"kind": "vae"},
        "QSL-VAE annealed, K = 5": {"kind": "qsl_vae", "flow": FLOW},
        "QSL-VAE published flow, K = 5": {"kind": "qsl_vae", "flow": {**FLOW, "bound": "flow", "damping": 0.0}},
        "HVAE, K = 5": {"kind": "hvae", "flow": TEMPERED},
    }
    steps = {name: training_step(made(CONV5 | model), x) for name, model in conv.items()}
    steps |= pythae_steps(x)
    report("convolutional networks of the QSL-VAE paper, batch 100", measure(steps, arguments.steps))
    dense: dict[str, dict[str, Any]] = {
        "VAE": {"kind": "vae"},
        "LAE, T = 2": {"kind": "lae", "langevin": {"steps": 2, "step_size": 1e-4}},
    }
    steps = {name: training_step(made(MLP | model), x, sgd=True) for name, model in dense.items()}
    report("fully connected networks of the LAE paper, batch 100", measure(steps, arguments.steps))


def made(model: dict[str, Any]) -> LatentVariableModel:
    torch.manual_seed(0)
    return build(parse_config({"name": "x", "model": model}, source="benchmark").model, SHAPE, data_size=60_000)


def training_step(model: LatentVariableModel, x: Tensor, *, sgd: bool = False) -> Step:
    generator = torch.Generator().manual_seed(0)
    return optimised(model, lambda: model(x, generator).loss, sgd=sgd)


def optimised(model: nn.Module, loss: Callable[[], Tensor], *, sgd: bool = False) -> Step:
    kind = torch.optim.SGD if sgd else torch.optim.Adamax
    optimizer = kind(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def pythae_steps(x: Tensor) -> dict[str, Step]:
    """Of Pythae's models on the very same encoder and decoder; none where it is not installed."""
    try:
        from pythae.models import HVAE, VAE, HVAEConfig, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
    except ImportError as error:
        print(f"Pythae is left out: {error}")
        return {}

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            model = made(CONV5 | {"kind": "vae"})
            assert isinstance(model, AmortizedModel)
            self.inner = model.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mean, scale = self.inner(x)
            return ModelOutput(embedding=mean, log_covariance=2 * scale.log())

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made(CONV5 | {"kind": "vae"}).decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.inner(z))

    class SecondOrderHVAE(HVAE):
        def _dU_dz(self, z: Tensor, x: Tensor) -> Tensor:  # noqa: N802
            output = self.decoder(z)["reconstruction"].reshape(len(x), -1)
            energy = -self._log_p_x_given_z(output, x).sum()
            return torch.autograd.grad(energy, z, create_graph=True)[0] + z

    # Its VAE takes outputs for probabilities: mean squared error costs the same and needs none.
    plain = VAEConfig(input_dim=SHAPE, latent_dim=64, reconstruction_loss="mse")
    flow = HVAEConfig(input_dim=SHAPE, latent_dim=64, reconstruction_loss="bce", n_lf=5, eps_lf=0.1, beta_zero=0.7)
    models = {
        "Pythae VAE": VAE(plain, Encoder(), Decoder()),
        "Pythae HVAE, 5 steps, first order": HVAE(flow, Encoder(), Decoder()),
        "Pythae HVAE, 5 steps, second order": SecondOrderHVAE(flow, Encoder(), Decoder()),
    }
    return {
        name: optimised(model, lambda model=model: model({"data": x}).loss)  # type: ignore[misc]
        for name, model in models.items()
    }


def measure(steps: dict[str, Step], count: int) -> dict[str, list[float]]:
    """Seconds of each step, in rounds of one step each, after two rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(count + 2):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 2:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> None:
    print(f"{title}: median of {len(seconds['VAE'])} steps; ratios of the same round, median")
    for name, values in seconds.items():
        ratios = [value / base for value, base in zip(values, seconds["VAE"], strict=True)]
        print(f"  {name:36} {1e3 * statistics.median(values):8.1f} ms {statistics.median(ratios):7.2f} times VAE")


if __name__ == "__main__":
    main()
