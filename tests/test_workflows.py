"""What a stranger's pull request may do in CI is little; what the workflows and the README type exists."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
README = (ROOT / "README.md").read_text()
COPIED = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def workflow(name):
    return yaml.safe_load((FOLDER / name).read_text())


def triggers(read):
    on = read[True]  # YAML 1.1 reads the key `on` as a truth value
    return {on} if isinstance(on, str) else set(on)


def nodes(read) -> Iterator[tuple[str, object]]:
    """Yield every key with its value, however deep."""
    for key, value in read.items() if isinstance(read, dict) else enumerate(read) if isinstance(read, list) else ():
        yield str(key), value
        yield from nodes(value)


def scripts(read):
    return [value for key, value in nodes(read) if key in ("run", "script") and isinstance(value, str)]


def everything():
    """Return the workflows and what the README has people copy, each by a name."""
    return {**{name: workflow(name) for name in NAMES}, **{text.splitlines()[0]: yaml.safe_load(text) for text in COPIED}}


def test_there_are_the_four_workflows_and_two_to_copy_of_ten_lines():
    assert NAMES == ["bench.yml", "comment.yml", "compare.yml", "test.yml"]
    assert [text.splitlines()[0] for text in COPIED] == ["# .github/workflows/compare.yml", "# .gitlab-ci.yml"]
    assert [len(text.splitlines()) for text in COPIED] == [11, 11]


def test_every_action_is_pinned_to_a_whole_commit_and_names_its_version():
    used = [(name, value) for name, read in everything().items() for key, value in nodes(read) if key == "uses"]
    assert len(used) >= 10
    assert [each for each in used if not PINNED.fullmatch(each[1])] == []
    for text in [*((FOLDER / name).read_text() for name in NAMES), *COPIED]:
        for line in text.splitlines():
            assert "uses:" not in line or re.search(r" # v\d+\.\d+\.\d+$", line), line


def test_one_action_has_one_commit_and_one_version_everywhere():
    text = "\n".join([*((FOLDER / name).read_text() for name in NAMES), *COPIED])
    found = set(re.findall(r"uses: ([\w.-]+/[\w.-]+)@([0-9a-f]{40}).* # (v\S+)", text))
    assert len({action for action, _, _ in found}) == len(found)


def test_no_expression_stands_in_a_shell_or_a_script():
    assert [(name, script) for name, read in everything().items() for script in scripts(read) if "${{" in script] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_says_what_it_may_when_it_ends_and_what_it_runs_beside(name):
    read = workflow(name)
    assert read["permissions"] in ({}, {"contents": "read"})
    assert read["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 30 for job in read["jobs"].values())


def test_only_the_comment_may_write_and_nothing_but_comments():
    own = {name: job["permissions"] for name in NAMES for job in workflow(name)["jobs"].values() if "permissions" in job}
    assert own == {"comment.yml": {"actions": "read", "pull-requests": "write"}}


def test_no_code_of_a_pull_request_runs_with_rights():
    for name in NAMES:
        assert "pull_request_target" not in triggers(workflow(name))
    comment = workflow("comment.yml")
    assert triggers(comment) == {"workflow_run"}
    assert comment[True]["workflow_run"]["workflows"] == [workflow("compare.yml")["name"]]
    assert [value for key, value in nodes(comment) if key == "run"] == []
    used = [value.partition("@")[0] for key, value in nodes(comment) if key == "uses"]
    assert used == ["actions/download-artifact", "actions/github-script"]


def test_no_checkout_leaves_its_token_and_the_comparison_has_the_history():
    taken = {
        name: [
            step["with"] for job in read["jobs"].values() for step in job["steps"] if "/checkout@" in step.get("uses", "")
        ]
        for name, read in everything().items()
        if "jobs" in read
    }
    assert sum(map(len, taken.values())) == 4
    assert all(each["persist-credentials"] is False for steps in taken.values() for each in steps)
    assert [each["fetch-depth"] for name in ("compare.yml", "# .github/workflows/compare.yml") for each in taken[name]] == [
        0,
        0,
    ]


def test_the_report_is_uploaded_as_one_page_that_is_not_zipped():
    [job] = workflow("bench.yml")["jobs"].values()
    [kept] = [step["with"] for step in job["steps"] if "/upload-artifact@" in step.get("uses", "")]
    assert kept == {"path": "reports/index.html", "archive": False, "if-no-files-found": "error"}


def test_what_compare_keeps_is_what_comment_takes():
    [job] = workflow("compare.yml")["jobs"].values()
    [kept] = [step["with"] for step in job["steps"] if "/upload-artifact@" in step.get("uses", "")]
    [other] = workflow("comment.yml")["jobs"].values()
    [taken] = [step["with"] for step in other["steps"] if "/download-artifact@" in step.get("uses", "")]
    assert kept["name"] == taken["name"]
    [posting] = scripts(workflow("comment.yml"))
    for name in re.findall(r'read\("([\w.]+)"\)', posting):
        assert any(f"{kept['path']}{name}" in script for script in scripts(workflow("compare.yml"))), name


def test_every_make_target_of_a_workflow_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        word for name in NAMES for script in scripts(workflow(name)) for word in re.findall(r"\bmake ([a-z-]+)", script)
    }
    assert {"bench", "venv"} <= named
    assert named <= targets
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def typed():
    """Return the options that workflows and README give to each command of mbbench."""
    texts = [*(script for name in NAMES for script in scripts(workflow(name))), *README.splitlines()]
    found: dict[str, set[str]] = {}
    for command, rest in re.findall(r"(?<![-\w])mbbench ([a-z]+)\b([^\n`#]*)", "\n".join(texts)):
        if options := re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
            found.setdefault(command, set()).update(options)
    return found


def test_the_options_that_ci_rests_on_are_typed():
    assert {"--annotate", "--markdown", "--junit", "--comment"} <= typed()["compare"]


@pytest.mark.parametrize("command", sorted(typed()))
def test_every_option_that_workflows_and_readme_type_is_there(command):
    asked = [sys.executable, "-m", "mbbench", command, "--help"]
    helped = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert typed()[command] - set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", helped)) == set()
