"""The script that comments on a pull request, run with an artifact of a stranger and GitHub's answers made up."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import playwright
import pytest
import yaml

from mbbench.reporting import compared, compared_files
from mbbench.reporting.gate import Change
from mbbench.reporting.stats import Estimate

WORKFLOW = Path(__file__).parent.parent / ".github" / "workflows" / "comment.yml"
DRIVER = """
const [script, payload, pulls, comments] = JSON.parse(process.argv[2]);
const done = [];
const rest = {pulls: {list: "pulls"}, issues: {listComments: "comments",
  createComment: async (given) => done.push(["create", given]),
  updateComment: async (given) => done.push(["update", given])}};
const github = {rest, paginate: async (what, given) => {
  done.push([what, given]);
  return what === "pulls" ? pulls : comments;
}};
const context = {repo: {owner: "us", repo: "ours"}, payload: {workflow_run: payload}};
const core = {notice: (words) => done.push(["notice", words])};
const AsyncFunction = (async () => {}).constructor;
new AsyncFunction("github", "context", "core", "require", script)(github, context, core, require)
  .then(() => console.log(JSON.stringify(done)), (error) => { console.error(error.message); process.exit(1); });
"""
RUN = {
    "head_repository": {"id": 7, "owner": {"login": "stranger"}},
    "head_branch": "faster",
    "head_sha": "c0ffee",
    "html_url": "https://github.com/us/ours/actions/runs/1",
}
PULL = {"number": 12, "head": {"sha": "c0ffee", "repo": {"id": 7}}}
MARKER = "<!-- mbbench compare -->"


@pytest.fixture
def post(tmp_path):
    """Return a function that runs the script on an artifact and returns what it asked of GitHub, or how it failed."""
    node = shutil.which("node") or str(Path(playwright.__file__).parent / "driver" / "node")
    if not Path(node).exists():
        pytest.skip("there is no node to run the script with")
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["comment"]["steps"]
    [script] = [step["with"]["script"] for step in steps if "script" in step["with"]]
    driver = tmp_path / "driver.js"
    driver.write_text(DRIVER)

    def run(text="**Nothing is slower.**\n", number="12\n", pulls=(PULL,), comments=(), payload=RUN):
        artifact = tmp_path / "comment"
        artifact.mkdir(exist_ok=True)
        if text is not None:
            (artifact / "comment.md").write_text(text, encoding="utf-8")
        (artifact / "number").write_text(number)
        given = json.dumps([script, payload, list(pulls), list(comments)])
        command = [node, str(driver), given]
        done = subprocess.run(command, env={"FOLDER": str(artifact)}, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return run


def body(done):
    return done[-1][1]["body"]


def test_the_comment_is_made_once_and_then_updated(post):
    done = post()
    assert [what for what, _ in done] == ["pulls", "comments", "create"]
    assert done[0][1]["head"] == "stranger:faster"
    assert done[-1][1]["issue_number"] == 12
    assert body(done).startswith(f"{MARKER}\n**Nothing is slower.**\n")
    earlier = {"id": 99, "user": {"login": "github-actions[bot]"}, "body": f"{MARKER}\nold"}
    done = post(comments=[{"id": 1, "user": None, "body": None}, earlier])
    assert done[-1][0] == "update"
    assert done[-1][1]["comment_id"] == 99


def test_a_strangers_comment_with_the_marker_is_not_taken_for_ours(post):
    assert post(comments=[{"id": 1, "user": {"login": "stranger"}, "body": MARKER}])[-1][0] == "create"


@pytest.mark.parametrize(
    "pull",
    [
        {**PULL, "number": 13},
        {**PULL, "head": {"sha": "0ther", "repo": {"id": 7}}},
        {**PULL, "head": {"sha": "c0ffee", "repo": {"id": 8}}},
        {**PULL, "head": {"sha": "c0ffee", "repo": None}},
    ],
)
def test_nothing_is_posted_where_github_does_not_know_the_pull_request_by_the_runs_commit(post, pull):
    assert [what for what, _ in post(pulls=[pull])] == ["pulls", "notice"]


def test_nothing_is_posted_when_the_fork_is_gone(post):
    assert [what for what, _ in post(payload={**RUN, "head_repository": None})] == ["notice"]


@pytest.mark.parametrize("number", ["", "0", "-1", "1e3", "12; rm", "12\n13", "٣", "99999999999", "../12"])
def test_a_number_that_is_not_digits_is_refused(post, number):
    assert "not the number of a pull request" in post(number=number)


def test_only_a_plain_file_that_is_not_too_large_is_read(post, tmp_path):
    assert "no plain file" in post(text="x" * 65537)
    secret = tmp_path / "secret"
    secret.write_text("of the runner")
    (tmp_path / "comment" / "comment.md").unlink()
    (tmp_path / "comment" / "comment.md").symlink_to(secret)
    assert "no plain file" in post(text=None)


def test_a_comment_that_grows_too_long_says_where_to_read_it(post):
    said = body(post(text="@" * 60000))
    assert len(said) < 1000
    assert RUN["html_url"] in said


def test_a_strangers_text_has_no_html_no_links_and_mentions_nobody(post):
    said = body(post(text="<!-- <img src=x> [a](//b) ![c](d) @us &#64;us &#064 &#X40;us &commat;us http://e.f www.g.h\n"))
    text = said.removeprefix(MARKER).partition("\n\n[The run]")[0]
    assert re.search(r"[<>\[\]]", text) is None
    assert re.search(r"@(?!&#8203;)|&#0*64|&#x0*40|&commat", text, flags=re.IGNORECASE) is None
    assert "://" not in text
    assert "www." not in text


def test_what_mbbench_writes_is_posted_as_it_is(post):
    ratio = Estimate(value=1.2, low=1.1, high=1.3, n=20, unit="ratio")
    row = compared.Row("bench/bench_a.py::test_b[<x>-[y]-|`*~#1 &]", "time", Change("slower", "cpu", ratio, None))
    text = compared_files.markdown(compared.Comparison("b" * 40, "h" * 40, rows=[row], blocks=20, seconds=60.0))
    assert text in body(post(text=text))
