"""The settings of the network `imagination`: its actor and critic, its tokenizer and its dynamics."""

import dataclasses

from tandem.core import setting
from tandem.models import actor_critic


@dataclasses.dataclass(frozen=True, kw_only=True)
class DreamConfig(actor_critic.Config):
    hidden_size: int = setting(64, "width of the actor's and the critic's layers", low=2, high=4096)
    critic_input: str = setting(
        "all_obs", "what the critic sees: each agent's own observation, or all of them", choices=("obs", "all_obs")
    )
    actor_memory: str = setting("none", "what the policy remembers of its past", choices=("none",))
    critic_memory: str = setting("none", "what the critic remembers", choices=("none",))
    action_bins: int = actor_critic.bins_setting(256)
    tokenizer: str = setting(
        "bins",
        "what an observation is made of: a bin for each number; or learned codes, by finite scalar quantisation or "
        "from a codebook",
        choices=("bins", "fsq", "vq"),
    )
    tokens: int = setting(16, "fsq, vq: codes of one observation", low=1, high=256)
    codes: int = setting(
        33, "different codes; bins: odd, so that zero has one; fsq: 64, 240, 512 or 1000", low=3, high=4096
    )
    bin_limit: float = setting(
        0.0,
        "bins: the number at which the last bin stands, more is cut off; 0 = for each feature the largest that was "
        "seen while the tokenizer learned, at least 1",
        low=0.0,
    )
    tokenizer_size: int = setting(128, "fsq, vq: width of the hidden layers", low=2, high=4096)
    code_size: int = setting(32, "vq: width of a vector of the codebook", low=1, high=1024)
    commitment: float = setting(10.0, "vq: weight of the distance from vectors to their codes", low=0.0)
    codebook_decay: float = setting(0.99, "vq: what the codebook's moving averages keep", low=0.0, high=0.9999)
    dynamics: str = setting(
        "transformer",
        "what predicts: a transformer over time, or a recurrent state-space model with discrete latents (DreamerV3)",
        choices=("transformer", "rssm"),
    )
    latent_groups: int = setting(8, "rssm: categorical variables of an agent's latent", low=1, high=256)
    latent_classes: int = setting(16, "rssm: classes of each of them", low=1, high=256)
    layout: str = setting(
        "one",
        "transformer: one position for each agent and step, whose tokens are drawn independently; or a position for "
        "every token, drawn one after another",
        choices=("one", "tokens"),
    )
    width: int = setting(64, "of the dynamics; rssm: of an agent's memory", low=4, high=4096)
    layers: int = setting(2, "blocks of the transformer", low=1, high=64)
    heads: int = setting(2, "attention heads; must divide width", low=1, high=64)
    aggregate: str = setting(
        "attention", "how an agent takes up what the others see and do at a step",
        choices=("none", "attention", "perceiver"),
    )  # fmt: skip
    model_size: int = setting(128, "width of the dynamics' other hidden layers", low=2, high=4096)
    reward_bins: int = setting(41, "bins of the reward's distribution; odd, so that zero has one", low=3, high=1001)
    reward_limit: float = setting(4.0, "symlog of the largest reward; 4 stands for 53", low=0.1)
    window: int = setting(64, "longest sequence, in steps, that a transformer has positions for", low=2, high=4096)


def check(config: DreamConfig) -> None:
    """Refuse settings that cannot work together.

    Raises:
      ValueError: with what to set instead.
    """
    if config.width % config.heads:
        raise ValueError(f"network_args.heads={config.heads}: does not divide network_args.width={config.width}")
    if config.aggregate == "attention" and config.width % max(config.heads, 4):
        raise ValueError(
            f"network_args.width={config.width}: attention between agents has {max(config.heads, 4)} heads, which "
            "have to divide it"
        )
    if config.dynamics == "rssm" and (config.aggregate == "perceiver" or config.layout == "tokens"):
        raise ValueError(
            "network_args.dynamics=rssm: it takes up the others by attention or not at all, and draws all tokens of a "
            "step at once; choose network_args.layout=one and network_args.aggregate=attention or none"
        )
    if config.tokenizer == "bins" and config.codes % 2 == 0:
        raise ValueError(f"network_args.codes={config.codes}: bins are odd in number; choose {config.codes + 1}")
    if config.reward_bins % 2 == 0:
        raise ValueError(f"network_args.reward_bins={config.reward_bins}: has to be odd, so that zero has a bin")
    if config.tokenizer == "fsq" and config.codes not in FSQ_LEVELS:
        raise ValueError(
            f"network_args.codes={config.codes}: fsq has {', '.join(map(str, FSQ_LEVELS))} codes; choose one of these"
        )


# Mentzer et al. 2024, table 1.
FSQ_LEVELS = {64: (4, 4, 4), 240: (8, 6, 5), 512: (8, 8, 8), 1000: (8, 5, 5, 5)}
