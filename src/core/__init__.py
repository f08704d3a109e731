"""Shared types and protocols for all that parts exchange. `transition` is the only logic here."""

from tandem.core.arrays import Array, Key, Params, PyTree, pytree
from tandem.core.faces import (
    ActorCritic, BehaviourPolicy, Codec, Coordination, Distribution, Dreamt, Imagined, Latents, Model, QValues,
    SelfSupervision, SequenceModel, SoftActorCritic, TeamPolicy, TeamValue,
)  # fmt: skip
from tandem.core.parts import (
    Acting, Alone, Environment, Halves, HostEnvironment, Learner, LearnerState, Planner, Pretraining, Recorded, Replay,
    Report, RunError, Runner, RunPlan, Slope, Source, Store,
)  # fmt: skip
from tandem.core.settings import setting
from tandem.core.spaces import Discrete, Entities, EnvSpec, Group, Image, Numbers, Vector
from tandem.core.step import (
    Batch, Candidates, Plan, PolicyExtras, SearchExtras, Stream, TimeStep, Transition, transition,
)  # fmt: skip

__all__ = [
    "Acting", "ActorCritic", "Alone", "Array", "Batch", "BehaviourPolicy", "Candidates", "Codec", "Coordination",
    "Discrete", "Distribution", "Dreamt", "Entities", "EnvSpec", "Environment", "Group", "Halves", "HostEnvironment",
    "Image", "Imagined", "Key", "Latents", "Learner", "LearnerState", "Model", "Numbers", "Params", "Plan", "Planner",
    "PolicyExtras", "Pretraining", "PyTree", "QValues", "Recorded", "Replay", "Report", "RunError", "RunPlan",
    "Runner", "SearchExtras", "SelfSupervision", "SequenceModel", "Slope", "SoftActorCritic", "Source", "Store",
    "Stream", "TeamPolicy", "TeamValue", "TimeStep", "Transition", "Vector", "pytree", "setting", "transition",
]  # fmt: skip
