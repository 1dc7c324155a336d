"""What only a GPU can show: rounds closed by synchronisation and cross-checked by events, one seed on both devices."""

import statistics

import msgspec
import pytest

from mbbench import api
from mbbench.case import Case, UsageError
from mbbench.record import Measurement
from mbbench.reporting import analysis

torch = pytest.importorskip("torch")


def on_gpu(test):
    """Mark a test `cuda`, and skip it with its reason where there is no GPU."""
    return pytest.mark.cuda(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")(test))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_alone_where_there_is_none_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"no cuda device here.*use --device cpu"):
        api.plan("linear", results=tmp_path, device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_beside_the_cpu_where_there_is_none_ends_as_unavailable_once_a_cell(tmp_path):
    plan = api.plan(
        "linear",
        results=tmp_path,
        device=["cpu", "cuda"],
        batch_size=64,
        measure=["time"],
        repeats=2,
        seconds=0.02,
        threads=1,
    )
    records = api.execute(plan)
    states = sorted((record.case.device, record.measurement.status) for record in records)
    assert states == [("cpu", "ok"), ("cpu", "ok"), ("cuda", "unavailable")]


@on_gpu
@pytest.mark.parametrize("rows", ["device", "host"])
def test_a_round_by_the_hosts_clock_agrees_with_the_devices_events(tmp_path, rows):
    plan = api.plan(
        "mlp", results=tmp_path, device="cuda", batch_size=[64, 4096], measure=["time"], repeats=1, options={"rows": rows}
    )
    for record in api.execute(plan):
        measurement = record.measurement
        assert measurement.status == "ok", measurement.message
        ratios = [wall / event for wall, event in zip(measurement.round_s, measurement.round_event_s, strict=True)]
        assert 0.98 <= statistics.median(ratios) <= 1.05


@on_gpu
def test_a_profile_waits_for_the_device_between_phases(tmp_path):
    plan = api.plan("mlp", results=tmp_path, device="cuda", batch_size=[64, 65_536], n=65_536, measure=["profile"])
    for record in api.execute(plan):
        profile = record.measurement.profile
        assert record.measurement.status == "ok", record.measurement.message
        assert all(seconds > 0 for seconds in profile.phases_s(record.case).values())
        assert 1e11 < profile.bandwidth < 1e13
        assert 1e12 < profile.matrix_rate < 1e15
    # Two products of 65,536 x 256 x 256 in the hidden layer's backward pass, at the 495 TFLOP/s of TF32 at the very most.
    assert profile.phases_s(record.case)["backward"] > 2 * 2 * 65_536 * 256**2 / 495e12


@on_gpu
def test_work_that_is_only_queued_is_not_taken_for_done(tmp_path):
    plan = api.plan("mlp-w2048", results=tmp_path, device="cuda", n=65_536, batch_size=[8192], measure=["time"], repeats=1)
    [record] = api.execute(plan)
    # Three matrix products of the hidden layer alone, at the 495 TFLOP/s that an H200 reaches with TF32 at the very most.
    flops = 6 * 8192 * 2048 * 2048
    assert statistics.median(record.measurement.steps_s()) > flops / 495e12


@on_gpu
def test_one_seed_starts_from_the_same_rows_and_parameters_on_both_devices():
    from mbbench.measuring.problems import resolve
    from mbbench.measuring.training import mean_loss, prepare

    case = Case(problem="digits-mlp", n_samples=1438, batch_size=32)
    losses = [
        mean_loss(training, training.rows)
        for training in (prepare(each, resolve("digits-mlp")[0]) for each in (case, case.on(device="cuda")))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@on_gpu
def test_the_device_is_named_in_the_environment(tmp_path):
    plan = api.plan("linear", results=tmp_path, device="cuda", batch_size=64, measure=["convergence"], seeds=1, max_steps=20)
    [record] = api.execute(plan)
    identity = record.environment.identity
    assert identity["accelerator_name"] == torch.cuda.get_device_name(0)
    assert identity["accelerator_driver"]
    assert msgspec.json.encode(record)
    assert analysis.table([record]).device[0] == "cuda"


@on_gpu
def test_the_devices_peaks_are_counted_and_near_the_prediction(tmp_path):
    plan = api.plan("mlp", results=tmp_path, device="cuda", n=100_000, batch_size=[4096, "full"], measure=["memory"])
    for record in api.execute(plan):
        found = record.measurement
        assert found.status == "ok", found.message
        assert found.peak_tensor_bytes is None
        assert found.peak_rss_delta_bytes is None
        assert found.peak_device_allocated_bytes == pytest.approx(found.predicted_peak_bytes, rel=0.25)  # cuBLAS takes some
        assert found.peak_device_allocated_bytes <= found.peak_device_reserved_bytes
        assert found.allocation_retries == 0
        assert found.allocator


@on_gpu
def test_a_cell_above_a_part_of_the_devices_memory_is_out_of_memory_and_the_next_one_runs(tmp_path):
    sizes = [1024, "full"]
    plan = api.plan(
        "mlp",
        results=tmp_path,
        device="cuda",
        n=400_000,
        batch_size=sizes,
        measure=["memory"],
        memory_budget="1GiB",
        predict=False,
    )
    states = {record.case.batch_size: record.measurement for record in api.execute(plan)}
    assert states[1024].status == "ok"
    assert (states[None].status, states[None].oom_by) == ("oom", "raised")


@on_gpu
def test_a_trace_has_the_kernels_and_gives_their_time_to_the_operations(tmp_path):
    plan = api.plan("mlp", results=tmp_path, device="cuda", batch_size=64, measure=["time"], write=False)
    found, printed = api.trace(plan, tmp_path / "trace.json")
    assert not isinstance(found, Measurement), f"{found.message} {printed}"
    assert found.operations[0].device_s > 0
    assert '"cat":"kernel"' in (tmp_path / "trace.json").read_text()
