"""Write the ONNX model beside this file. Run it by hand with the train image's lock, the only one with `onnx`.

score = sigmoid(0.08 (age - 40) + 0.05 (hours - 40) + 1 if the occupation is "Exec"); missing hours count as 40.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

HERE = Path(__file__).parent


def constant(name: str, value: object, dtype: type) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=dtype), name)


def main() -> None:
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("IsNaN", ["hours"], ["absent"]),
            node("Where", ["absent", "forty", "hours"], ["present"]),
            node("Equal", ["occupation", "exec"], ["is_exec"]),
            node("Cast", ["is_exec"], ["bonus"], to=TensorProto.FLOAT),
            node("Sub", ["age", "forty"], ["age_0"]),
            node("Sub", ["present", "forty"], ["hours_0"]),
            node("Mul", ["age_0", "w_age"], ["age_1"]),
            node("Mul", ["hours_0", "w_hours"], ["hours_1"]),
            node("Sum", ["age_1", "hours_1", "bonus"], ["logit"]),
            node("Sigmoid", ["logit"], ["yes"]),
            node("Sub", ["one", "yes"], ["no"]),
            node("Concat", ["no", "yes"], ["probabilities"], axis=1),
            node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "tiny",
        [
            helper.make_tensor_value_info("age", TensorProto.FLOAT, ["rows", 1]),
            helper.make_tensor_value_info("hours", TensorProto.FLOAT, ["rows", 1]),
            helper.make_tensor_value_info("occupation", TensorProto.STRING, ["rows", 1]),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2]),
        ],
        [
            constant("forty", [40], np.float32),
            constant("one", [1], np.float32),
            constant("w_age", [0.08], np.float32),
            constant("w_hours", [0.05], np.float32),
            constant("exec", ["Exec"], object),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(model, full_check=True)
    save(model, HERE / "model.onnx")


if __name__ == "__main__":
    main()
