import subprocess
from pathlib import Path

import msgspec
import psutil
import pytest

from mbbench.case import Budget, Case, UsageError
from mbbench.record import Environment, Measurement, Record, encode
from mbbench.store import StoreError, append, drop_if_empty, files, load_file, load_records, results_file


def environment(time: str = "2026-11-23T12:00:00.123Z", commit: str | None = "4f1c2ab" * 5) -> Environment:
    return Environment(
        identity={"processor": "Example CPU"},
        commit=commit,
        diff=None,
        version="0.1.0",
        time=time,
        load_1m=None,
        governor=None,
    )


def record(repeat: int = 0, time: str = "2026-11-23T12:00:00.123Z") -> Record:
    return Record(
        run_id="run1",
        kind="time",
        repeat=repeat,
        source="s1",
        budget=Budget(max_seconds=1.0),
        case=Case(problem="linear", n_samples=100),
        measurement=Measurement(status="ok", round_s=(0.5,)),
        environment=environment(time),
    )


def loaded_like(one: Record) -> Record:
    # Loaded, a case is a Cell: it may be one that cannot be run.
    return msgspec.json.decode(encode(one), type=Record)


def written(path: Path, *records: Record) -> Path:
    for one in records:
        append(path, one)
    return path


def test_a_results_file_is_named_after_time_commit_and_machine(tmp_path):
    fingerprint = environment().fingerprint
    assert results_file(tmp_path, environment()).name == f"20261123T120000Z-4f1c2ab-{fingerprint}.jsonl"
    assert results_file(tmp_path, environment(commit=None)).name == f"20261123T120000Z-nogit-{fingerprint}.jsonl"


def test_a_missing_folder_is_made_and_a_run_without_records_leaves_no_file(tmp_path):
    path = results_file(tmp_path / "a" / "b", environment())
    assert path.parent.is_dir()
    assert path.stat().st_size == 0
    drop_if_empty(path)
    assert not list(path.parent.iterdir())


def test_two_runs_in_the_same_second_get_two_files(tmp_path):
    paths = []
    for repeat in range(3):
        paths.append(results_file(tmp_path, environment()))
        append(paths[-1], record(repeat))
    assert len(set(paths)) == 3
    assert [[found.repeat for found in load_file(path)] for path in paths] == [[0], [1], [2]]
    assert sorted(path.name for path in paths) == [path.name for path in paths]


def test_records_come_back_as_they_were_appended(tmp_path):
    path = written(tmp_path / "a.jsonl", record(1), record(0), record(2))
    assert load_file(path) == [loaded_like(record(repeat)) for repeat in (1, 0, 2)]
    assert path.read_bytes().count(b"\n") == 3


def test_a_record_is_on_disk_when_append_returns_and_nothing_before_it_is_touched(tmp_path):
    path = tmp_path / "a.jsonl"
    before = b""
    for repeat in range(3):
        append(path, record(repeat))
        content = path.read_bytes()
        assert content == before + encode(record(repeat))
        before = content


def test_a_last_line_that_was_cut_off_is_left_out_with_a_warning(tmp_path):
    path = written(tmp_path / "a.jsonl", record(0), record(1))
    whole = path.read_bytes()
    first = len(encode(record(0)))
    for end in (first + 1, first + 100, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.warns(UserWarning, match=r"a\.jsonl: the last line was cut off and is left out"):
            assert [found.repeat for found in load_file(path)] == [0]


def test_a_file_cut_off_between_two_lines_loads_without_a_warning(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(encode(record(0)))
    assert len(load_file(path)) == 1


@pytest.mark.parametrize("broken", [b"\n", b"{\n", b"\x00\xff\n", encode(record(0))[:100] + b"\n", b"{}\n"])
def test_a_broken_line_in_the_middle_is_an_error_that_names_file_and_line(tmp_path, broken):
    path = tmp_path / "a.jsonl"
    path.write_bytes(encode(record(0)) + broken + encode(record(1)))
    with pytest.raises(StoreError, match=r"a\.jsonl, line 2 is not a record \(.+\): mend or delete that line"):
        load_file(path)


def test_a_folder_without_records_is_an_error_that_says_how_to_measure(tmp_path):
    (tmp_path / "notes.txt").write_text("no record")
    with pytest.raises(StoreError, match=r"holds no records: measure first, with `mbbench run` or `pytest bench/`"):
        load_records(tmp_path)


def test_an_empty_file_holds_no_records(tmp_path):
    (tmp_path / "a.jsonl").touch()
    assert load_file(tmp_path / "a.jsonl") == []
    with pytest.raises(StoreError, match="holds no records"):
        load_records(tmp_path)


def test_a_path_that_is_not_there_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere does not exist: give a results folder or a \.jsonl file"):
        load_records(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_an_error_with_its_reason(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"a\.jsonl cannot be read \(Is a directory\)"):
        load_file(tmp_path / "a.jsonl")


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_cannot_be_written_to_is_an_error_that_says_what_to_do(tmp_path, below):
    # A file in the way, since permissions do not bind root.
    in_the_way = tmp_path / "results"
    in_the_way.write_text("a file")
    with pytest.raises(StoreError, match=r"results cannot be written to .+: give a folder that can, with --results DIR"):
        results_file(in_the_way / below, environment())
    assert in_the_way.read_text() == "a file"


def test_a_store_error_is_a_usage_error():
    assert issubclass(StoreError, UsageError)


def test_records_of_a_folder_come_oldest_run_first_whatever_the_files_are_called(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    written(tmp_path / "a.jsonl", record(3, "2026-11-23T12:00:00.500Z"), record(4, "2026-11-23T12:00:00.500Z"))
    written(tmp_path / "b.jsonl", record(1, "2026-11-23T12:00:00.123Z"))
    written(tmp_path / "deep" / "er" / "c.jsonl", record(0, "2025-01-01T00:00:00.000Z"))
    (tmp_path / "notes.json").write_text("{}")
    assert [found.repeat for found in load_records(tmp_path)] == [0, 1, 3, 4]


def test_files_and_folders_are_given_one_or_several_as_text_or_path(tmp_path):
    first = written(tmp_path / "a.jsonl", record(0))
    (tmp_path / "b").mkdir()
    second = written(tmp_path / "b" / "b.jsonl", record(1, "2025-01-01T00:00:00.000Z"))
    assert [found.repeat for found in load_records(str(first))] == [0]
    assert [found.repeat for found in load_records([second.parent, str(first)])] == [1, 0]


def test_a_file_named_twice_is_loaded_once(tmp_path):
    path = written(tmp_path / "a.jsonl", record(0))
    assert len(load_records([tmp_path, path, str(path)])) == 1


def test_appending_leaves_no_open_file(tmp_path):
    before = psutil.Process().num_fds()
    written(tmp_path / "a.jsonl", *map(record, range(20)))
    assert psutil.Process().num_fds() == before


def test_records_kept_as_data_are_read_where_they_are_named_and_not_among_others(tmp_path):
    for repeat, folder in enumerate(("results", "results/mine", "results/reference")):
        (tmp_path / folder).mkdir()
        append(tmp_path / folder / "x.jsonl", record(repeat))
    assert {each.repeat for each in load_records(tmp_path / "results")} == {0, 1}
    assert [each.repeat for each in load_records(tmp_path / "results/reference")] == [2]


def test_what_is_kept_of_results_are_records_that_a_report_of_ones_own_leaves_out():
    """A file of another kind under results/ would stop `make bench` at its report, in every fresh clone."""
    root = Path(__file__).parent.parent
    listed = subprocess.run(["git", "ls-files", "results"], cwd=root, capture_output=True, text=True, check=False).stdout
    kept = [root / name for name in listed.splitlines()]
    assert all("reference" in path.relative_to(root).parts for path in kept)
    assert not set(kept) & set(files(root / "results"))
