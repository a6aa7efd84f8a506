"""The Langevin autoencoder (LAE) and its two controls, the autoencoder (AE) and the frozen last layer.

Source: Taniguchi et al. (2022), Alg. 2; docs/mathematics.md, "Amortized Langevin dynamics".
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from medlangevin.models.base import Loss, standard_normal_log_prob
from medlangevin.models.energies import Energies, Visit, mean_energy, mean_energy_of_shares
from medlangevin.models.vae import VAE
from medlangevin.samplers import Adaptation, amortized, mala, sample
from medlangevin.system.distributed import all_processes, total
from medlangevin.system.errors import MedlangevinError

Update = Literal["langevin", "mala", "gradient", "frozen"]

# The acceptance at which MALA's steps are best, which posterior sampling adapts to.
_TARGET_ACCEPTANCE = 0.574
# How much of the running acceptance each mini-batch replaces.
_FORGETTING = 0.05
# How far the step size of update mala follows the acceptance of one mini-batch: log step <- log step + gain * error.
_ADAPTATION_GAIN = 0.05


class LinearEncoder(nn.Module):
    """q(z | x) = N(Phi g(x), scale^2 I), without a bias.

    Args:
        features: g: x -> (N, ``num_features``).
        latent_dim: d.
        num_features: The number of features.
        learned: Whether Phi is a parameter; otherwise it is a buffer, part of the state all the same.
        scale: The standard deviation of q.

    Attributes:
        weight: Phi (``latent_dim``, ``num_features``), which starts orthogonal.
    """

    weight: Tensor

    def __init__(self, features: nn.Module, *, latent_dim: int, num_features: int, learned: bool, scale: float) -> None:
        super().__init__()
        self.features = features
        self.scale = scale
        weight = nn.init.orthogonal_(torch.empty(latent_dim, num_features))
        if learned:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x).

        Args:
            x: Images (N, C, *spatial).

        Returns:
            Each (N, ``latent_dim``).
        """
        mean = amortized.latents(self.weight, self.features(x).to(self.weight.dtype))
        return mean, torch.full_like(mean, self.scale)


class LAE(VAE):
    """An autoencoder z = Phi g(x; psi) whose last layer Phi follows amortized Langevin dynamics (ALD) while it trains.

    ``update`` says where Phi comes from:

    * ``langevin``: ``num_updates`` T ALD steps per mini-batch, accepted or rejected if ``metropolis``. They sample
      exp(-V(Phi)), V the energy -log p(x, z) summed over the mini-batch, at temperature one. ``step_size`` is that of
      the gradient of the mean energy V / n: with n images (in all processes) the step on V is eta = step_size / n and
      its noise has variance 2 step_size / n.
    * ``mala`` (ours): each image's z = Phi g(x) is moved on by ``num_updates`` MALA steps on -log p(x, z), accepted or
      rejected image by image. The decoder learns from where they end; Phi and psi learn to predict it, by the gradient
      of -log q(z | x). The step on z starts at ``step_size`` and follows an acceptance of 0.574.
    * ``gradient``: Phi is learned like every other parameter (the AE: T = 0, a maximum a posteriori fit of z).
    * ``frozen``: Phi stays as it was drawn.

    Evaluation (``elbo``, ``log_weights``) takes q(z | x) = N(Phi g(x), ``scale``^2 I). Posterior samples are the ends
    of MALA chains, ``posterior_steps`` long, one for each sample, started at Phi g(x), and as good as these are long;
    their step size starts from ``posterior_step_size`` and is adapted in the first half, each chain's for itself.

    Args:
        features: g, x -> (N, ``num_features``).
        latent_dim: d.
        num_features: The number of features.
        num_updates: T.
        step_size: As above.
        metropolis: Whether updates are accepted or rejected.
        update: As above.
        scale: The standard deviation of q(z | x).
        posterior_steps: Steps of the chain of a posterior sample, at least 2.
        posterior_step_size: Their size at first.
        parts: The decoder and likelihood of ``LatentVariableModel``.

    Attributes:
        running_acceptance: The share of accepted proposals in recent mini-batches.
        latent_step_size: The step on z of ``mala``.

    Raises:
        MedlangevinError: Settings that make no sense.
    """

    encoder: LinearEncoder
    running_acceptance: Tensor
    latent_step_size: Tensor

    def __init__(
        self,
        *,
        features: nn.Module,
        latent_dim: int,
        num_features: int,
        num_updates: int = 2,
        step_size: float = 1e-4,
        metropolis: bool = True,
        update: Update = "langevin",
        scale: float = 0.05,
        posterior_steps: int = 200,
        posterior_step_size: float = 0.01,
        **parts: Any,
    ) -> None:
        if update not in get_args(Update):
            raise MedlangevinError(f"LAE: update is {update!r}; it can be langevin, mala, gradient or frozen")
        if update in ("langevin", "mala") and (num_updates < 1 or step_size <= 0):
            raise MedlangevinError(
                f"LAE: {num_updates} Langevin updates of size {step_size}; give at least one of a positive size, "
                "or update: gradient"
            )
        if scale <= 0 or posterior_steps < 2:
            raise MedlangevinError(
                f"LAE: scale {scale}, posterior_steps {posterior_steps}; give a positive scale and 2 steps or more"
            )
        learned = update in ("gradient", "mala")
        encoder = LinearEncoder(
            features, latent_dim=latent_dim, num_features=num_features, learned=learned, scale=scale
        )
        super().__init__(encoder=encoder, latent_dim=latent_dim, **parts)
        self.num_updates, self.step_size, self.metropolis = num_updates, step_size, metropolis
        self.update: Update = update
        self.posterior_steps, self.posterior_step_size = posterior_steps, posterior_step_size
        self.register_buffer("running_acceptance", torch.ones(()))
        if update == "mala":
            self.register_buffer("latent_step_size", torch.tensor(step_size))

    def shorten_steps(self) -> bool:
        """Halve the step on z of ``update`` mala.

        Returns:
            Whether there is one.
        """
        if self.update == "mala":
            self.latent_step_size.mul_(0.5)
        return self.update == "mala"

    def training_loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The energy -log p(x, z) in nats per image, averaged over the states of Phi that this mini-batch visits.

        With ``langevin`` the updates of Phi happen here (in training mode alone), and no gradient flows through them: T
        + 1 evaluations of the decoder serve the accept tests and all gradients. In several processes (torch.distributed
        initialised) each passes its part of the mini-batch, and all take the same steps.

        With ``mala`` the value is the energy at the ends of the chains, and the gradient of Phi and psi that of
        |z - Phi g(x)|^2 / (2 ``scale``^2) there: T + 2 evaluations of the decoder.

        Args:
            x: Images (N, C, *spatial).
            generator: The source of noise; None: torch's default one.

        Returns:
            The loss; its parts are log_joint (minus the loss), log_likelihood and log_prior of the last visited state,
                in nats per image; weight_norm, the Frobenius norm of Phi; acceptance, the share of accepted proposals
                (``langevin``, ``mala``); step_size, that of the chains on z (``mala``).
        """
        moved = {"langevin": self._langevin, "mala": self._mala}.get(self.update) if self.training else None
        figures = {}
        if moved is not None:
            loss, value, latent, figures["acceptance"] = moved(x, generator)
        else:
            latent = self.encoder(x)[0]
            value = self.potential(x)(latent)
            loss = value.mean()
        if self.update == "mala":
            figures["step_size"] = self.latent_step_size.clone()
        log_prior = standard_normal_log_prob(latent).mean()
        return Loss.of(
            loss,
            log_joint=-loss,
            log_likelihood=-value.mean() - log_prior,
            log_prior=log_prior,
            weight_norm=self.encoder.weight.norm(),
            **figures,
        )

    def _langevin(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss; energies and latents of the last state, (N,) and (N, d_z); the share of accepted proposals."""
        processes = all_processes()
        features = self.encoder.features(x)
        rows = features.detach().to(self.encoder.weight.dtype)
        images = total(torch.full((), len(x), device=x.device), processes)
        step_size = self.step_size / images.double()
        potential = self.potential(x)
        parameters = [p for part in (self.decoder, self.likelihood) for p in part.parameters() if p.requires_grad]
        # Gradients of the parameters cost half a backward pass more if taken at once, a whole one if taken later, and
        # nothing if the state is never visited: the start if the first proposal is accepted, a proposal if it is not.
        # A GPU would idle while the host waits for each decision: there all are taken at once.
        on_host = self._decides_on_host(x)
        expect_moves = on_host and self.running_acceptance.item() >= 0.5
        share = 1 / (self.num_updates * len(x))

        def evaluate(weight: Tensor, *, likely_visited: bool) -> tuple[amortized.State, Energies]:
            latent = amortized.latents(weight, rows)
            at_once = likely_visited or not on_host
            energies = Energies(potential, latent, parameters, parameters_at_once=at_once, share=share)
            return amortized.State(weight, latent, energies.value, energies.gradient), energies

        state, energies = evaluate(self.encoder.weight.clone(), likely_visited=not expect_moves)
        visits: list[Visit] = [Visit(energies, state.weight, 0)]
        moves: list[Tensor] = []
        for _ in range(self.num_updates):
            weight = amortized.propose(state, rows, generator, step_size=step_size, processes=processes)
            proposal, energies = evaluate(weight, likely_visited=expect_moves or not self.metropolis)
            chosen, info = amortized.accept(state, proposal, rows, generator, step_size=step_size, processes=processes)
            moves.append(info.is_accepted if self.metropolis else torch.ones_like(info.is_accepted))
            if not on_host:
                state = chosen if self.metropolis else proposal
                visits.append(Visit(energies, proposal.weight, 0))
            elif bool(moves[-1]):
                state = proposal
                visits.append(Visit(energies, state.weight, 1))
            else:
                visits[-1] = visits[-1]._replace(times=visits[-1].times + 1)
        if on_host:
            loss = mean_energy([visit for visit in visits if visit.times > 0], features, parameters)
        else:
            loss = mean_energy_of_shares(visits, _shares(moves), features, parameters)
        accepted = torch.stack(moves).to(self.running_acceptance.dtype).mean()
        with torch.no_grad():
            self.encoder.weight.copy_(state.weight)
            self.running_acceptance.lerp_(accepted, _FORGETTING)
        return loss, state.value, state.latent, accepted

    @staticmethod
    def _decides_on_host(x: Tensor) -> bool:
        return x.device.type == "cpu"

    def _mala(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss; energies and latents at the ends of the chains, (N,) and (N, d_z); the share of accepted moves."""
        prediction = self.encoder(x)[0]
        potential = self.potential(x)
        chain = mala.init(prediction.detach(), potential)
        acceptance = torch.zeros_like(self.running_acceptance)
        for _ in range(self.num_updates):
            chain, info = mala.step(chain, potential, generator, step_size=self.latent_step_size)
            acceptance += info.acceptance_probability.mean() / self.num_updates
        processes = all_processes()
        images = total(torch.full((), len(x), dtype=acceptance.dtype, device=x.device), processes)
        acceptance = total(acceptance * len(x), processes) / images
        value = potential(chain.position)
        misfit = 0.5 * ((chain.position - prediction) / self.encoder.scale).square().sum(-1).mean()
        with torch.no_grad():
            self.latent_step_size.mul_(torch.exp(_ADAPTATION_GAIN * (acceptance - _TARGET_ACCEPTANCE)))
            self.running_acceptance.lerp_(acceptance, _FORGETTING)
        return value.mean() + (misfit - misfit.detach()), value, chain.position, acceptance

    def _draw_posterior(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        potential = self.potential(x)
        burn_in = self.posterior_steps // 2
        chains = sample(
            mala.step,
            mala.init(self.encoder(x)[0], potential),
            potential,
            generator,
            num_samples=1,
            burn_in=burn_in,
            thinning=self.posterior_steps - burn_in,
            # A step size for each chain: one image's samples must not depend on which others are in the batch.
            adaptation=Adaptation(torch.full((len(x), 1), self.posterior_step_size), _TARGET_ACCEPTANCE),
        )
        return chains.state.position


def _shares(moves: list[Tensor]) -> Tensor:
    """The shares of its steps that a chain spent at its start and at each proposal, (T + 1,) float64.

    ``moves``: whether each of the T proposals was accepted, 0-d each.
    """
    at = torch.zeros(len(moves) + 1, dtype=torch.float64, device=moves[0].device)
    at[0].fill_(1)
    shares = torch.zeros_like(at)
    for number, is_accepted in enumerate(moves, start=1):
        there = torch.zeros_like(at)
        there[number].fill_(1)
        at = torch.where(is_accepted, there, at)
        shares = shares + at / len(moves)
    return shares
