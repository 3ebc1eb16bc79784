"""What holds for every command: light, helpful, exit codes that mean something."""

import subprocess
import sys

import pytest

from supple.errors import NoCandidateError, TaskError

HEAVY = ("torch", "optuna", "plotly", "numpy", "sklearn", "pydantic", "jinja2", "onnx")
COMMANDS = ("optimize", "show", "export", "tasks", "doctor")


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from supple.cli import main; code = main(sys.argv[1:]);"
        f"heavy = [m for m in {HEAVY} if m in sys.modules]; assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: supple")


def test_help_names_every_command_and_every_exit_code(supple):
    help = supple("--help").out
    assert all(name in help for name in COMMANDS)
    assert all(code in help for code in ("0 done", "1 an error", "2 wrong", "3 no", "130"))


def test_version_is_that_of_the_package(supple):
    import supple as package

    called = supple("--version")
    assert (called.code, called.out.strip()) == (0, package.__version__)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimise", "digits"], 'Did you mean "optimize"?'),
        (["optimize", "digits", "--latncy", "0.5"], "Did you mean --latency?"),
        (["optimize", "digits", "--backend", "trch"], 'Did you mean "torch"?'),
        (["optimize", "digits", "--evaluations", "some"], 'unable to convert "some" into int'),
        (["optimize", "digits", "--evaluations", "0"], "Must be >= 1"),
        (["optimize", "digits", "--latency", "fast"], "'fast' is not a bound of latency"),
        (["optimize", "digits", "--option", "depth"], "not of the form name=value"),
        (["export", "run", "--pick", "latency=0"], "'0' is not a bound of latency"),
        (["show"], "requires an argument"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(supple, words, message):
    called = supple(*words)
    assert called.code == 2
    assert called.out == ""
    assert message in called.err
    assert "--help" in called.err


def test_an_error_shows_its_parts_and_no_traceback(supple, job):
    job.error = TaskError("there is no task 'digts'.", why="It is not built in.", hint="digits")
    called = supple("optimize", "digts", "--quiet")
    assert called.code == 1
    assert called.err.splitlines() == [
        "error (task): there is no task 'digts'.",
        "  why: It is not built in.",
        "  try: digits",
    ]


@pytest.mark.parametrize("place", [0, 2])
def test_a_traceback_is_shown_where_it_is_asked_for(supple, job, place):
    job.error = TaskError("there is no task 'digts'.")
    words = ["optimize", "digts", "--quiet"]
    words.insert(place, "--traceback")
    called = supple(*words)
    assert called.code == 1
    assert "Traceback (most recent call last)" in called.err


def test_a_message_is_printed_as_it_is(supple, job):
    message = "config [red]a[/red] has options [1, 2]: :smile: " + "long " * 60
    job.error = TaskError(message)
    assert message.rstrip() in supple("optimize", "digits", "--quiet").err


def test_no_candidate_ends_with_3(supple, job):
    job.error = NoCandidateError("no candidate has a latency of at most 0.01.")
    assert supple("optimize", "digits", "--quiet").code == 3


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(supple, job):
    job.error = KeyboardInterrupt()
    called = supple("optimize", "digits", "--quiet")
    assert called.code == 130
    assert "the same command" in called.err


def test_a_defect_is_not_hidden(supple, job):
    job.error = ZeroDivisionError("in the user's own task")
    with pytest.raises(ZeroDivisionError):
        supple("optimize", "digits", "--quiet")


def test_a_reader_that_closes_early_is_no_error(run):
    code = "from supple.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "show", str(run), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        shown.stdout.close()
        assert shown.stderr.read() == b""
        assert shown.wait() == 0


def test_a_terminal_without_unicode_still_gets_its_summary(run):
    code = "from supple.cli import main; raise SystemExit(main())"
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code, "show", str(run)]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"This network runs in" in done.stdout
