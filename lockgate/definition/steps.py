"""One typed function per program of Lockgate. Rendered from the contracts by `lockgate render`; do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass

from lockgate_step import (
    AdditionalVerdict,
    Answers,
    Base,
    BiasVerdict,
    Bundle,
    CanaryVerdict,
    DataRecord,
    DataVerdict,
    Kind,
    ModelFile,
    PromotionRecord,
    QualityVerdict,
    RecallVerdict,
    Report,
    SmokeVerdict,
    Staged,
    Table,
)

from lockgate.definition.graph import Artifact, Setting, add


@dataclass(frozen=True)
class BiasAudit:
    """The outputs of bias-audit."""

    verdict: Artifact[BiasVerdict]
    report: Artifact[Report]


def bias_audit(
    answers: Artifact[Answers],
    truth: Artifact[Table],
    data: Artifact[DataRecord],
    sensitive: Artifact[Table] | None = None,
    train_sensitive: Artifact[Table] | None = None,
    *,
    seed: int | Setting = 0,
    after: Artifact[Kind] | None = None,
    name: str = "bias-audit",
) -> BiasAudit:
    """Compare the model's answers between the groups of each sensitive column; judge each gap by its interval."""
    task = add(
        "bias-audit",
        name,
        {"answers": answers, "truth": truth, "data": data, "sensitive": sensitive, "train_sensitive": train_sensitive},
        {"seed": seed},
        after,
    )
    return BiasAudit(verdict=task.output("verdict"), report=task.output("report"))


def canary(
    staged: Artifact[Staged],
    smoke: Artifact[SmokeVerdict],
    bundle: Artifact[Bundle],
    *,
    wait: int | Setting = 60,
    after: Artifact[Kind] | None = None,
    name: str = "canary",
) -> Artifact[CanaryVerdict]:
    """Give the staged version a share of the users' requests, and judge it beside the live one."""
    task = add(
        "canary",
        name,
        {"staged": staged, "smoke": smoke, "bundle": bundle},
        {"wait": wait},
        after,
    )
    return task.output("verdict")


def conclude(
    *,
    model: str | Setting,
    status: str | Setting = "",
    wait: int | Setting = 120,
    after: Artifact[Kind] | None = None,
    name: str = "conclude",
) -> None:
    """Release the candidate if the run still holds it, and write the run's summary."""
    task = add(
        "conclude",
        name,
        {},
        {"model": model, "status": status, "wait": wait},
        after,
    )
    del task


def deploy(
    bundle: Artifact[Bundle],
    recalled: Artifact[RecallVerdict] | None = None,
    *,
    wait: int | Setting = 300,
    after: Artifact[Kind] | None = None,
    name: str = "deploy",
) -> Artifact[Staged]:
    """Deploy a verified bundle at its own address; it receives no user requests."""
    task = add(
        "deploy",
        name,
        {"bundle": bundle, "recalled": recalled},
        {"wait": wait},
        after,
    )
    return task.output("staged")


def fetch(
    *,
    version: str | Setting,
    after: Artifact[Kind] | None = None,
    name: str = "fetch",
) -> Artifact[ModelFile]:
    """Fetch a registered model version in the form that is judged and served: ONNX, or skops with its model.json."""
    task = add(
        "fetch",
        name,
        {},
        {"version": version},
        after,
    )
    return task.output("model")


@dataclass(frozen=True)
class Ingest:
    """The outputs of ingest."""

    rows: Artifact[Table]
    train_sensitive: Artifact[Table]
    test: Artifact[Table]
    truth: Artifact[Table]
    sensitive: Artifact[Table]
    base: Artifact[Base]
    record: Artifact[DataRecord]


def ingest(
    *,
    data: str | Setting,
    test_data: str | Setting = "",
    data_sha256: str | Setting = "",
    after: Artifact[Kind] | None = None,
    name: str = "ingest",
) -> Ingest:
    """Freeze the data and the live version: take a snapshot, split it, and separate truth and sensitive columns."""
    task = add(
        "ingest",
        name,
        {},
        {"data": data, "test_data": test_data, "data_sha256": data_sha256},
        after,
    )
    return Ingest(
        rows=task.output("rows"),
        train_sensitive=task.output("train_sensitive"),
        test=task.output("test"),
        truth=task.output("truth"),
        sensitive=task.output("sensitive"),
        base=task.output("base"),
        record=task.output("record"),
    )


@dataclass(frozen=True)
class Package:
    """The outputs of package."""

    bundle: Artifact[Bundle]
    card: Artifact[Report]


def package(
    model: Artifact[ModelFile],
    data: Artifact[DataRecord],
    answers: Artifact[Answers],
    data_verdict: Artifact[DataVerdict],
    quality_verdict: Artifact[QualityVerdict],
    bias_verdict: Artifact[BiasVerdict],
    additional: Mapping[str, Artifact[AdditionalVerdict]] | None = None,
    *,
    after: Artifact[Kind] | None = None,
    name: str = "package",
) -> Package:
    """Make the bundle of a model that passed every gate, store it, and register it by its digest."""
    task = add(
        "package",
        name,
        {
            "model": model,
            "data": data,
            "answers": answers,
            "data_verdict": data_verdict,
            "quality_verdict": quality_verdict,
            "bias_verdict": bias_verdict,
            "additional": additional,
        },
        {},
        after,
    )
    return Package(bundle=task.output("bundle"), card=task.output("card"))


def predict(
    model: Artifact[ModelFile],
    test: Artifact[Table],
    data: Artifact[DataRecord],
    base: Artifact[Base] | None = None,
    *,
    batch: int | Setting = 4096,
    after: Artifact[Kind] | None = None,
    name: str = "predict",
) -> Artifact[Answers]:
    """Predict the test rows with the candidate, and with the live version if there is one."""
    task = add(
        "predict",
        name,
        {"model": model, "test": test, "data": data, "base": base},
        {"batch": batch},
        after,
    )
    return task.output("answers")


def promote(
    staged: Artifact[Staged],
    smoke: Artifact[SmokeVerdict],
    bundle: Artifact[Bundle],
    canary: Artifact[CanaryVerdict] | None = None,
    recalled: Artifact[RecallVerdict] | None = None,
    *,
    wait: int | Setting = 120,
    after: Artifact[Kind] | None = None,
    name: str = "promote",
) -> Artifact[PromotionRecord]:
    """Make the bundle that passed every gate of its spec live, unless live has moved since they compared with it."""
    task = add(
        "promote",
        name,
        {"staged": staged, "smoke": smoke, "canary": canary, "bundle": bundle, "recalled": recalled},
        {"wait": wait},
        after,
    )
    return task.output("record")


def pull(
    *,
    model: str | Setting,
    digest: str | Setting,
    after: Artifact[Kind] | None = None,
    name: str = "pull",
) -> Artifact[Bundle]:
    """Download a bundle from the store into the pod that serves it."""
    task = add(
        "pull",
        name,
        {},
        {"model": model, "digest": digest},
        after,
    )
    return task.output("bundle")


@dataclass(frozen=True)
class Recall:
    """The outputs of recall."""

    bundle: Artifact[Bundle]
    verdict: Artifact[RecallVerdict]


def recall(
    *,
    to: str | Setting = "previous",
    after: Artifact[Kind] | None = None,
    name: str = "recall",
) -> Recall:
    """Bring back a version that was live before: verify its bundle, and say by which rules it was judged."""
    task = add(
        "recall",
        name,
        {},
        {"to": to},
        after,
    )
    return Recall(bundle=task.output("bundle"), verdict=task.output("verdict"))


def smoke_test(
    staged: Artifact[Staged],
    bundle: Artifact[Bundle],
    recalled: Artifact[RecallVerdict] | None = None,
    *,
    requests: int | Setting = 200,
    patience: int | Setting = 30,
    after: Artifact[Kind] | None = None,
    name: str = "smoke-test",
) -> Artifact[SmokeVerdict]:
    """Call the staged version at its own address; check its answers, its error responses and its latency."""
    task = add(
        "smoke-test",
        name,
        {"staged": staged, "bundle": bundle, "recalled": recalled},
        {"requests": requests, "patience": patience},
        after,
    )
    return task.output("verdict")


def train(
    rows: Artifact[Table],
    sensitive: Artifact[Table] | None = None,
    *,
    estimator: str | Setting = "sklearn.ensemble.HistGradientBoostingClassifier",
    parameters: str | Setting = "{}",
    mitigation: str | Setting = "none",
    mitigate: str | Setting = "",
    constraint: str | Setting = "demographic-parity",
    difference_bound: float | Setting = 0.1,
    fits: int | Setting = 20,
    threshold: float | Setting = 0.5,
    seed: int | Setting = 0,
    form: str | Setting = "auto",
    after: Artifact[Kind] | None = None,
    name: str = "train",
) -> Artifact[ModelFile]:
    """Fit a scikit-learn classifier, mitigate bias if requested, and write the model in the format that is served."""
    task = add(
        "train",
        name,
        {"rows": rows, "sensitive": sensitive},
        {
            "estimator": estimator,
            "parameters": parameters,
            "mitigation": mitigation,
            "mitigate": mitigate,
            "constraint": constraint,
            "difference_bound": difference_bound,
            "fits": fits,
            "threshold": threshold,
            "seed": seed,
            "form": form,
        },
        after,
    )
    return task.output("model")


@dataclass(frozen=True)
class ValidateData:
    """The outputs of validate-data."""

    verdict: Artifact[DataVerdict]
    report: Artifact[Report]


def validate_data(
    rows: Artifact[Table],
    test: Artifact[Table],
    truth: Artifact[Table],
    data: Artifact[DataRecord],
    sensitive: Artifact[Table] | None = None,
    train_sensitive: Artifact[Table] | None = None,
    *,
    after: Artifact[Kind] | None = None,
    name: str = "validate-data",
) -> ValidateData:
    """Check the frozen data against the model's spec and expectations.json."""
    task = add(
        "validate-data",
        name,
        {
            "rows": rows,
            "test": test,
            "truth": truth,
            "sensitive": sensitive,
            "train_sensitive": train_sensitive,
            "data": data,
        },
        {},
        after,
    )
    return ValidateData(verdict=task.output("verdict"), report=task.output("report"))


@dataclass(frozen=True)
class ValidateModel:
    """The outputs of validate-model."""

    verdict: Artifact[QualityVerdict]
    report: Artifact[Report]


def validate_model(
    answers: Artifact[Answers],
    truth: Artifact[Table],
    data: Artifact[DataRecord],
    *,
    seed: int | Setting = 0,
    after: Artifact[Kind] | None = None,
    name: str = "validate-model",
) -> ValidateModel:
    """Compare the model's answers with the truth, and with the live version's answers to the same rows."""
    task = add(
        "validate-model",
        name,
        {"answers": answers, "truth": truth, "data": data},
        {"seed": seed},
        after,
    )
    return ValidateModel(verdict=task.output("verdict"), report=task.output("report"))
