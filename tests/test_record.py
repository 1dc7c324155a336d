import json
import math
from pathlib import Path

import msgspec
import pytest

import mbbench.record
from mbbench.case import Budget, Case, Cell
from mbbench.profile import Laps, Profile
from mbbench.record import (
    FAULTS,
    SCHEMA,
    Curve,
    Environment,
    Measurement,
    Record,
    Status,
    code_state,
    decode,
    digest,
    encode,
    key,
)
from mbbench.scrub import scrub
from mbbench.search import NoisePoint, Run, Search

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "data" / "record-schema-1.jsonl"

ENVIRONMENT = Environment(
    identity={"processor": "Example CPU", "cores": 2, "accelerator": None},
    commit="4f1c2ab" * 5,
    diff="0123456789ab",
    version="0.1.0",
    time="2026-11-23T12:00:00.000Z",
    load_1m=0.25,
    governor="performance",
)
LAPS = Laps(
    steps=(2, 3),
    starts=(1, 0),
    start_s=(0.1, 0.0),
    batch_s=(0.1, 0.2),
    forward_s=(0.3, 0.4),
    backward_s=(0.5, 0.6),
    optimizer_s=(0.7, 0.8),
)
FULL = Record(
    run_id="run1",
    kind="convergence",
    repeat=2,
    source="fedcba987654",
    budget=Budget(target_loss=0.5, max_epochs=3, max_steps=100, max_seconds=1.5, max_bytes=2**31),
    case=Cell(
        problem="models/net.py:problem",
        n_samples=5,
        batch_size=2,
        micro_batch=1,
        loader="gather",
        optimizer="adam",
        lr=0.1,
        device="cuda:1",
        dtype="bfloat16",
        threads=2,
        seed=3,
        shuffle=False,
        options=(("rows", "host"),),
    ),
    measurement=Measurement(
        status="diverged",
        phase="train",
        message="the loss was not finite",
        lr=0.1,
        round_s=(0.1, 1 / 3, 5e-324, 1.7976931348623157e308),
        round_cpu_s=(0.2, 0.3),
        round_event_s=(0.1,),
        meter=(2.5, 1e-9),
        steps_per_round=3,
        samples_per_round=5,
        epochs_per_round=1,
        epoch_start_s=(1e-6, 0.0),
        warmup_s=0.3,
        warmup_steps=12,
        cell_s=2.5,
        measuring_s=0.4,
        evaluation_s=0.01,
        curve=Curve(
            step=(0, 1, 3),
            epoch=(0.0, 0.4, 1.0),
            samples=(0, 2, 5),
            train_s=(0.0, 0.001, 0.003),
            train_loss=(1e300, 2.5, None),
            heldout_loss=(None, None, None),
            heldout_metric=(0.5, None, 1.0),
        ),
        minor_faults=12,
        limit_bytes=2**30,
        predicted_peak_bytes=1000,
        oom_by="watchdog",
        peak_tensor_bytes=1001,
        setup_peak_tensor_bytes=1002,
        peak_rss_delta_bytes=4096,
        rss_sampled=True,
        floor_rss_bytes=2**27,
        peak_device_allocated_bytes=512,
        peak_device_reserved_bytes=2**21,
        peak_device_used_bytes=2**22,
        allocation_retries=1,
        allocator="expandable_segments:True",
        gradient_difference=1e-7,
        search=Search(
            targets=(0.2, 0.1, 0.05),
            runs=(Run(lr=0.5, seed=1, ended="reached", step=(0, 1), train_loss=(2.0, None), heldout_loss=(2.1, 1.0)),),
            vectorised=True,
            noise=(NoisePoint(step=0, train_loss=2.0, b_fin=80.0, b_super=None, refused="not resolved"),),
        ),
        profile=Profile(
            laps=LAPS,
            one_row=LAPS,
            flop_per_row=1.5,
            copy_bytes=2**28,
            copy_s=(0.1, 0.2),
            matmul_flop=2**27,
            matmul_s=(0.01,),
        ),
    ),
    environment=ENVIRONMENT,
)


def timed(**fields: object) -> Measurement:
    return Measurement(**({"status": "ok", "phase": "train"} | fields))


def replaced(record: Record, **fields: object) -> Record:
    return msgspec.structs.replace(record, **fields)


def environment(**fields: object) -> Environment:
    return msgspec.structs.replace(ENVIRONMENT, **fields)


def test_every_field_survives_the_way_through_json():
    for struct in (FULL, FULL.budget, FULL.case, FULL.measurement, FULL.environment):
        for name, default in zip(struct.__struct_fields__[::-1], struct.__struct_defaults__[::-1], strict=False):
            if name != "schema":
                assert getattr(struct, name) != default, f"{name} is not tried"
    assert decode(encode(FULL)) == FULL


def test_a_record_is_one_line():
    awkward = replaced(FULL, measurement=Measurement(status="error", message="one\ntwo\r\nthree\u2028four\x00"))
    for record in (FULL, awkward):
        line = encode(record)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert b"\r" not in line
        assert decode(line) == record


def test_json_never_holds_a_number_that_is_not_finite():
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    curve = msgspec.structs.replace(FULL.measurement.curve, train_loss=(1.0, math.inf, math.nan))
    odd = replaced(FULL, measurement=msgspec.structs.replace(FULL.measurement, curve=curve, lr=math.nan))
    for record in (FULL, odd):
        json.loads(encode(record), parse_constant=refuse)
    assert decode(encode(odd)).measurement.curve.train_loss == (1.0, None, None)


def test_what_is_not_known_is_null_and_not_zero():
    raw = json.loads(encode(replaced(FULL, measurement=Measurement(status="unavailable"))))
    unknown = {name: value for name, value in raw["measurement"].items() if value not in ([], {})}
    assert unknown.pop("status") == "unavailable"
    assert set(unknown.values()) == {None}


def test_fields_of_a_newer_minor_version_are_passed_over():
    raw = json.loads(encode(FULL))
    for part in (raw, raw["case"], raw["measurement"], raw["measurement"]["curve"], raw["environment"], raw["budget"]):
        part["not_invented_yet"] = {"a": [1]}
    assert decode(json.dumps(raw).encode()) == FULL


def test_a_newer_schema_is_refused_with_what_to_do():
    raw = json.loads(encode(FULL)) | {"schema": SCHEMA + 1}
    with pytest.raises(ValueError, match=f"its schema is {SCHEMA + 1}, this mbbench reads up to {SCHEMA}: update mbbench"):
        decode(json.dumps(raw).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b'{"schema": "2"}',
        b'{"schema": null}',
        encode(FULL).replace(b'"diverged"', b'"fine"'),
        encode(FULL).replace(b'"max_steps":100', b'"max_steps":0'),
        encode(FULL).replace(b'"repeat":2', b'"repeat":"2"'),
    ],
)
def test_what_is_no_record_is_a_value_error(line):
    with pytest.raises(ValueError, match=r"\w"):
        decode(line)


def test_the_golden_file_of_schema_1_loads():
    # It was written by mbbench 0.1.0 from a real run of the notebook's problem; it never changes.
    records = [decode(line) for line in GOLDEN.read_bytes().splitlines()]
    assert [(str(r.case), r.kind, r.measurement.status) for r in records] == [
        ("notebook-n5-b2-slice", "time", "ok"),
        ("notebook-n5-b2-slice", "convergence", "ok"),
        ("notebook-n5-b2-slice-lr1e+20", "convergence", "diverged"),
        ("notebook-n5-b8-slice", "time", "not_applicable"),
    ]
    assert {record.schema for record in records} == {1}
    timing, curve = records[0].measurement, records[1].measurement.curve
    assert timing.samples_per_round == 5 * timing.epochs_per_round
    assert timing.steps_per_round == 3 * timing.epochs_per_round
    assert curve.step[:4] == (0, 1, 2, 3)
    assert curve.samples[:4] == (0, 2, 4, 5)
    assert curve.train_loss[3] < curve.train_loss[0]
    assert records[2].measurement.curve.train_loss[-1] is None
    assert records[0].environment.fingerprint == "51198a450c60"


def test_the_published_schema_is_that_of_the_code():
    # To rewrite it, in one line:
    # python -c "import json, mbbench.record as r; print(json.dumps(r.json_schema(), indent=2))" > docs/record.schema.json
    published = (ROOT / "docs" / "record.schema.json").read_text()
    assert published == json.dumps(mbbench.record.json_schema(), indent=2) + "\n"


def test_the_fingerprint_depends_on_the_identity_only():
    changes = {
        "commit": None,
        "diff": None,
        "version": "9.9.9",
        "time": "2030-01-01T00:00:00.000Z",
        "load_1m": 17.0,
        "governor": None,
    }
    assert {"identity", *changes} == set(Environment.__struct_fields__)
    for name, value in changes.items():
        assert environment(**{name: value}).fingerprint == ENVIRONMENT.fingerprint, name
    other = environment(identity=ENVIRONMENT.identity | {"cores": 4})
    assert other.fingerprint != ENVIRONMENT.fingerprint


def test_the_fingerprint_does_not_depend_on_the_order_of_the_identity():
    turned = environment(identity=dict(reversed(ENVIRONMENT.identity.items())))
    assert (
        turned.fingerprint == ENVIRONMENT.fingerprint == digest(b'{"accelerator":null,"cores":2,"processor":"Example CPU"}')
    )


def test_a_digest_is_twelve_digits_of_sha_256():
    assert digest(b"abc") == "ba7816bf8f01"


def test_a_key_changes_with_all_that_would_need_measuring_again_and_nothing_else():
    same = {
        "run_id": "run2",
        "measurement": Measurement(status="ok"),
        "environment": environment(time="2030-01-01T00:00:00Z", load_1m=9.0, governor=None),
    }
    other = {
        "kind": "time",
        "repeat": 0,
        "source": "0",
        "budget": Budget(max_steps=101),
        "case": msgspec.structs.replace(FULL.case, seed=4),
        "environment": environment(identity={}),
    }
    for name, value in same.items():
        assert replaced(FULL, **{name: value}).key == FULL.key, name
    states = [environment(commit=None), environment(diff=None), environment(version="0.2.0")]
    keys = [replaced(FULL, **{name: value}).key for name, value in other.items()]
    keys += [replaced(FULL, environment=state).key for state in states]
    assert len({FULL.key, *keys}) == len(keys) + 1


def test_a_key_is_the_same_before_and_after_json():
    whole = replaced(FULL, budget=Budget(max_seconds=1, target_loss=0), case=Case(problem="linear", n_samples=10, lr=1))
    assert decode(encode(whole)).key == whole.key
    assert whole.key == key("convergence", whole.case, 2, FULL.source, Budget(max_seconds=1.0, target_loss=0.0), ENVIRONMENT)


def test_the_code_state_of_no_repository_is_empty_text():
    assert code_state(environment(commit=None, diff=None)) == ("", "", "0.1.0")


def test_rounds_of_whole_epochs_are_divided_by_their_number():
    # 4 epochs of 3 steps and 5 rows in 0.8 s: 0.2 s an epoch; 4 starts of 0.02 s (the median) leave 0.72 s to 12 steps.
    whole = timed(
        round_s=(0.8, 0.4),
        steps_per_round=12,
        samples_per_round=20,
        epochs_per_round=4,
        epoch_start_s=(0.01, 0.02, 0.09),
    )
    assert whole.epochs_s(5) == pytest.approx((0.2, 0.1), rel=1e-15)
    assert whole.steps_s() == pytest.approx((0.06, (0.4 - 0.08) / 12), rel=1e-15)


def test_rounds_inside_an_epoch_are_scaled_by_rows_and_one_start_is_added():
    # 10 steps of 8 rows in 0.5 s; an epoch has 1003 rows (126 steps, the last of 3 rows) and starts in 0.02 s.
    part = timed(
        round_s=(0.5, 0.25),
        steps_per_round=10,
        samples_per_round=80,
        epochs_per_round=0,
        epoch_start_s=(0.02, 0.01, 0.09),
    )
    assert part.epochs_s(1003) == pytest.approx((0.02 + 0.5 * 1003 / 80, 0.02 + 0.25 * 1003 / 80), rel=1e-15)
    assert part.steps_s() == pytest.approx((0.05, 0.025), rel=1e-15)


def test_a_measurement_without_rounds_has_no_times():
    for empty in (Measurement(status="oom"), FULL.measurement.__class__(status="ok", curve=FULL.measurement.curve)):
        assert empty.epochs_s(5) == ()
        assert empty.steps_s() == ()


def test_rounds_inside_an_epoch_whose_start_is_not_known_give_no_epoch():
    smoke = timed(round_s=(0.5,), steps_per_round=1, samples_per_round=8, epochs_per_round=0)
    assert smoke.epochs_s(80) == ()
    assert smoke.steps_s() == (0.5,)


@pytest.mark.parametrize("epochs", [0, 1, 7])
def test_throughput_times_time_is_samples(epochs):
    n, steps = 960, 10 if epochs == 0 else 30 * epochs
    samples = steps * 32
    rounds = timed(
        round_s=(0.3, 0.7, 0.11),
        steps_per_round=steps,
        samples_per_round=samples,
        epochs_per_round=epochs,
        epoch_start_s=(0.001, 0.002),
    )
    for epoch_s, step_s, round_s in zip(rounds.epochs_s(n), rounds.steps_s(), rounds.round_s, strict=True):
        throughput = n / epoch_s
        starts_outside_s = 0.0 if epochs else 0.0015 * samples / n
        assert throughput * (round_s + starts_outside_s) == pytest.approx(samples, rel=1e-12)
        # A round's steps and the epoch starts inside it are all there is.
        assert steps * step_s + epochs * 0.0015 == pytest.approx(round_s, rel=1e-12)


def test_every_fault_is_a_status():
    assert set(FAULTS) < set(Status.__args__)
    assert {"ok", "oom", "diverged", "budget_exhausted", "unavailable", "not_applicable"} == set(Status.__args__) - set(
        FAULTS
    )


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("/home/me/model.py", "model.py"),
        ('File "/home/me/net/model.py", line 3', 'File "model.py", line 3'),
        ("No such file: '/home/me/rows.csv'", "No such file: 'rows.csv'"),
        ("No such file: '/home/John Smith/my rows.csv'", "No such file: 'my rows.csv'"),
        ("copy /home/me/a.py to (/tmp/x/b.py), then /c/d", "copy a.py to (b.py), then d"),
        ("error:/home/me/a.py", "error:a.py"),
        ("path=/usr/lib/me:/home/me/bin", "path=me:bin"),
        ("file:///home/me/a.py", "file:a.py"),
        (r"C:\Users\me\model.py", "model.py"),
        (r"open('C:\\Users\\me\\model.py')", "open('model.py')"),
        (r"'C:\Users\John Smith\model.py' and D:\x.py", "'model.py' and x.py"),
        ("C:/Users/me/model.py:12", "model.py:12"),
        (r"\\server\share\model.py", "model.py"),
    ],
)
def test_an_absolute_path_is_cut_down_to_its_last_part(text, scrubbed):
    assert scrub(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "see https://pytorch.org/docs/stable/notes.html and http://host:80/a/b",
        "s3://bucket/rows/part.csv",
        "model.py, line 3",
        "models/net.py:problem",
        "./models/net.py and ../net.py",
        r"models\net.py",
        "12/24 rows at 3.5 samples/s, ratio a/b/c",
        "n / batch and a // b",
        "tensor of shape (3, 4) at 10:30:00",
        "don't: it's 1/2",
        "",
    ],
)
def test_what_is_no_absolute_path_is_left_alone(text):
    assert scrub(text) == text
