"""ONNX Runtime beside torch: as many threads, which rest between calls."""

import torch

from shared.onnx import onnx_session


def test_a_session_computes_with_torchs_threads_and_rests_between_calls(tmp_path):
    layer, rows = torch.nn.Linear(3, 2), torch.randn(4, 3)
    torch.onnx.export(layer, (rows,), input_names=["rows"], output_names=["out"], dynamo=True).save(tmp_path / "l.onnx")
    session = onnx_session(tmp_path / "l.onnx")
    (out,) = session.run(["out"], {"rows": rows.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), layer(rows))
    options = session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.get_providers() == ["CPUExecutionProvider"]
