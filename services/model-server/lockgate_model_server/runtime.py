"""The MLServer runtime of a model: checks an Open Inference request, calls the model, returns label and score."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import lockgate_model
from lockgate_model import accepted_operators, input_entry
from lockgate_step import Category, Column, Number

from lockgate_model_server import lean  # noqa: F401 - must come before mlserver: it reduces mlserver's imports
from lockgate_model_server.check import Accepted, Rejected, Tensor, check

# isort: split
from mlserver import MLModel, ModelSettings
from mlserver.errors import MLServerError
from mlserver.settings import ModelParameters
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    ResponseOutput,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_ID_LENGTH = 128
_QUICK = 256  # values of a request, of all its columns


class InputRefused(MLServerError):  # type: ignore[misc]  # untyped base
    """A request that the model must not answer; MLServer turns it into a 400."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(str(rejected), 400)
        self.faults = rejected.faults


class OnlyOurs(BaseSettings):
    """Settings that only this program can set, not the environment or a `.env` file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the constructor's arguments."""
        return (init_settings,)


class _Parameters(OnlyOurs, ModelParameters):  # type: ignore[misc]  # untyped base
    pass


class _Settings(OnlyOurs, ModelSettings):  # type: ignore[misc]  # untyped base
    pass


class LockgateRuntime(MLModel):  # type: ignore[misc]  # untyped base
    """Predicts with one model folder; the server and the step `predict` both use it."""

    @classmethod
    def of(cls, name: str, model: Path, policy: Path) -> "LockgateRuntime":
        """Make the runtime of a model folder and its policy, not yet loaded."""
        return cls(cls.settings_of(name, model, policy))

    @classmethod
    def settings_of(cls, name: str, model: Path, policy: Path, *, bundle: str | None = None) -> ModelSettings:
        """Make the MLServer settings of such a runtime; `bundle` is the digest in its answers."""
        version = bundle.removeprefix("sha256:")[:12] if bundle else None
        parameters = _Parameters(uri=str(model), version=version, extra={"bundle": bundle, "policy": str(policy)})
        return _Settings(name=name, implementation=cls, parameters=parameters)

    async def load(self) -> bool:
        """Load the model and its metadata. Errors: those of lockgate_model."""
        parameters = self._settings.parameters
        accepted = accepted_operators(Path(parameters.extra["policy"]))
        self.predictor = lockgate_model.load(Path(parameters.uri), accepted=accepted)
        card = self.predictor.card
        self._bundle = parameters.extra["bundle"]
        self._settings.platform = card.format
        self._settings.versions = [self.version] if self.version else []
        self.inputs = [_described(column) for column in card.inputs]
        self.outputs = [
            _tensor("label", "BYTES", values=[card.labels.negative, card.labels.positive]),
            _tensor("score", "FP64", low=0.0, high=1.0, probability_of=card.labels.positive, threshold=card.threshold),
        ]
        return True

    @property
    def columns(self) -> Sequence[Column]:
        """The model's inputs; the model must be loaded."""
        inputs: Sequence[Column] = self.predictor.card.inputs
        return inputs

    @property
    def labels(self) -> tuple[str, str]:
        """The labels that the model gives, the negative one first; the model must be loaded."""
        labels = self.predictor.card.labels
        return labels.negative, labels.positive

    async def metadata(self) -> MetadataModelResponse:
        """Return MLServer's metadata with the bundle's digest."""
        described = await super().metadata()
        described.parameters = self._parameters()
        return described

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict every row of a request, or refuse the whole request.

        Errors: InputRefused, which names the columns; MLServerError for an invalid id or an unknown output.
        """
        wanted = _outputs(payload)
        tensors = [Tensor(t.name, t.datatype, t.shape, t.data.root) for t in payload.inputs]
        if self._quick(tensors):
            labels, scores = self._answer(tensors)
        else:  # in a thread, so that a large request does not block other requests or the health checks
            labels, scores = await asyncio.to_thread(self._answer, tensors)
        shape = [len(labels)]
        outputs = {
            "label": ResponseOutput(
                name="label", datatype="BYTES", shape=shape, data=labels, parameters=Parameters(content_type="str")
            ),
            "score": ResponseOutput(name="score", datatype="FP64", shape=shape, data=scores),
        }
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            id=payload.id,
            parameters=self._parameters(),
            outputs=[outputs[name] for name in wanted],
        )

    def _quick(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether a graph answers so few values that to change to a thread would take longer."""
        values = sum(len(tensor.data) if isinstance(tensor.data, list) else 1 for tensor in tensors)
        return values <= _QUICK and self.predictor.card.format == "onnx"

    def _answer(self, tensors: Sequence[Tensor]) -> tuple[list[str], list[float]]:
        match check(self.predictor.card.inputs, tensors):
            case Rejected() as rejected:
                raise InputRefused(rejected)
            case Accepted(columns):
                return self.predictor.predict(columns)

    def _parameters(self) -> Parameters:
        return Parameters(bundle=self._bundle) if self._bundle else Parameters()


def _described(column: Column) -> MetadataTensor:
    said = {key: value for key, value in input_entry(column).items() if key != "name" and value != ""}
    match column:
        case Number():
            return _tensor(column.name, "FP64", **said)
        case Category():
            return _tensor(column.name, "BYTES", **said)
        case never:
            assert_never(never)


def _tensor(name: str, datatype: str, **parameters: object) -> MetadataTensor:
    return MetadataTensor(name=name, datatype=datatype, shape=[-1], parameters=Parameters(**parameters))


def _outputs(payload: InferenceRequest) -> Sequence[str]:
    # MLServer copies the id into response headers, which may contain printable ASCII only.
    if payload.id is not None and not (
        payload.id.isascii() and payload.id.isprintable() and len(payload.id) <= _ID_LENGTH
    ):
        msg = f"id must be at most {_ID_LENGTH} printable ASCII characters"
        raise MLServerError(msg)
    wanted = [output.name for output in payload.outputs or ()] or ["label", "score"]
    if not set(wanted) <= {"label", "score"} or len(set(wanted)) != len(wanted):
        msg = "outputs may name label and score, each once"
        raise MLServerError(msg)
    return wanted
