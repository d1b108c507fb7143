"""Which credits go bad? Statlog German Credit, 1970s."""

import credit_steps as own

from lockgate import Candidate, Data, ModelSpec, Split, brought, category, frozen_data, label, number, tuned


def candidate(spec: ModelSpec) -> Candidate:
    """Define this model's own chain: balance the labels, then train a model with coefficients that can be shown."""
    data, checked = frozen_data(spec)
    balanced = own.balance(data.rows, after=checked.verdict)
    model = own.fit(balanced, strength=tuned(spec, "strength"))
    return brought(model, data, checked)


MODEL = ModelSpec(
    name="credit",
    owner="lending@example.gc.ca",
    description="Which credits go bad? Statlog German Credit, 1970s.",
    data=Data(
        uri="data/german.data.gz",
        columns=(
            "checking_account",
            "duration_months",
            "credit_history",
            "purpose",
            "amount",
            "savings",
            "employment",
            "instalment_rate",
            "personal_status_and_sex",
            "other_debtors",
            "residence_since",
            "property",
            "age",
            "other_instalments",
            "housing",
            "existing_credits",
            "job",
            "dependants",
            "telephone",
            "foreign_worker",
            "risk",
        ),
        delimiter=" ",
    ),
    target=label("risk", positive="good", negative="bad", spellings={"1": "good", "2": "bad"}),
    inputs={
        "checking_account": category("A11", "A12", "A13", "A14"),
        "duration_months": number(1, 120, whole=True, unit="months"),
        "credit_history": category("A30", "A31", "A32", "A33", "A34"),
        "purpose": category("A40", "A41", "A42", "A43", "A44", "A45", "A46", "A47", "A48", "A49", "A410"),
        "amount": number(100, 50000, whole=True, unit="Deutsche Mark"),
        "savings": category("A61", "A62", "A63", "A64", "A65"),
        "employment": category("A71", "A72", "A73", "A74", "A75"),
        "instalment_rate": number(1, 4, whole=True, unit="class of the share of income"),
        "other_debtors": category("A101", "A102", "A103"),
        "property": category("A121", "A122", "A123", "A124"),
        "other_instalments": category("A141", "A142", "A143"),
        "housing": category("A151", "A152", "A153"),
        "existing_credits": number(1, 4, whole=True, unit="credits"),
        "job": category("A171", "A172", "A173", "A174"),
    },
    sensitive={
        "personal_status_and_sex": category("A91", "A92", "A93", "A94", "A95"),
        "age": number(18, 100, whole=True, unit="years", bands=(26, 40)),
    },
    split=Split(test_share=0.4, seed="credit"),
    train={"strength": 1.0},
    tunable=("strength",),
    candidate=candidate,
)
