"""Controls of the sharpening ledger: lower temperature, matched entropy, guessing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import expo_bench
from expo_bench.commands.cli import app
from expo_bench.errors import UserError
from expo_bench.ledger.compare import Request, compare
from tests.ledger.ledger_runs import write_run


def test_a_trained_model_is_held_against_the_control(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["-" * 8] * 10 + ["+---" * 2] * 10)
    trained = write_run(tmp_path / "trained", ["+-+-" * 2] * 10 + ["+++-" * 2] * 10)
    control = write_run(tmp_path / "control", ["-" * 8] * 10 + ["+++-" * 2] * 10, temperature=0.5)
    sections = compare(Request(base=base, trained=(trained,), controls=(control,))).content["comparisons"]
    assert [section["role"] for section in sections] == ["trained", "control", "trained against control"]
    assert sections[1]["verdict"]["kind"] == "sharpening"
    assert sections[2]["verdict"]["new_problems"] is True
    weak = write_run(tmp_path / "weak", ["-" * 8] * 10 + ["+++-" * 2] * 10)
    sections = compare(Request(base=base, trained=(weak,), controls=(control,))).content["comparisons"]
    assert "does not beat both base and control" in sections[2]["verdict"]["sentence"]


def test_the_base_does_not_beat_a_control_that_lost_problems(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+---" * 2] * 20)
    again = write_run(tmp_path / "again", ["--+-" * 2] * 20)
    control = write_run(tmp_path / "control", ["-" * 8] * 10 + ["++--" * 2] * 10, temperature=0.5)
    section = compare(Request(base=base, trained=(again,), controls=(control,))).content["comparisons"][2]
    assert section["subsets"]["all"]["null"]["p_trained_only"] < 0.05
    assert section["verdict"]["new_problems"] is False


def test_controls_stand_beside_the_trained_model(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["+---" * 2] * 20)
    trained = write_run(tmp_path / "trained", ["++-+" * 2] * 20)
    alike = write_run(tmp_path / "alike", ["-+++" * 2] * 20, temperature=0.5)
    weak = write_run(tmp_path / "a=weak", ["--+-" * 2] * 20, temperature=0.7)
    words = ["compare", str(base), str(trained), "--control", f"half={alike}", "--control", str(weak)]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "ledger"), "--json"])
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    found = [(one["control"], one["does_what_training_did"]) for one in content["controls"]]
    assert found == [("half", True), ("a=weak", False)]
    [sentence] = [one["verdict"]["sentence"] for one in content["comparisons"] if one["base"] == "half"]
    assert sentence.endswith("half does what training did.")
    page = (tmp_path / "ledger" / "report.html").read_text(encoding="utf-8")
    assert 'id="controls"' in page and "does what training did" in page
    assert content["protocol_differs_in"] == {"half": ["temperature"], "a=weak": ["temperature"]}
    with pytest.raises(UserError, match="two runs have one name"):
        compare(Request(base=base, trained=(trained,), controls=(alike,), names={alike: "trained"}))


def test_the_control_of_nearest_entropy_is_found(tmp_path: Path) -> None:
    def run(name: str, *logprobs: float, **protocol: object) -> Path:
        return write_run(tmp_path / name, ["+-", "-+"], logprobs=logprobs, **protocol)

    base, trained = run("base", -1.0, -3.0), run("trained", -0.5, -0.7)
    # a token a sample: the mean of -log p over both problems
    controls = (run("colder", -0.25, -0.75), run("warmer", -0.75, -0.75), run("other", -0.6, -0.6, temperature=0.5))
    content = compare(Request(base=base, trained=(trained,), controls=controls)).content
    entropies = {name: one["entropy"]["value"] for name, one in content["runs"].items()}
    assert entropies == {"base": 2, "trained": pytest.approx(0.6), "colder": 0.5, "warmer": 0.75, "other": None}
    assert "temperature 0.5" in content["runs"]["other"]["entropy"]["reason"]
    matched = content["comparisons"][0]["matched_entropy"]
    assert (matched["control"], matched["distance"]) == ("colder", pytest.approx(-0.1))
    assert "0.5000 against 0.6000 nats per token (distance -0.1000; known of 2 of 3 controls)" in matched["sentence"]
    assert [one["nearest_in_entropy"] for one in content["controls"]] == [True, False, False]
    assert [one["entropy_distance"] for one in content["controls"]] == [pytest.approx(-0.1), pytest.approx(0.15), None]
    silent = write_run(tmp_path / "silent", ["+-", "-+"])
    content = compare(Request(base=base, trained=(silent,), controls=controls)).content
    assert content["comparisons"][0]["matched_entropy"]["reason"] == "silent: its samples carry no log-probability"
    unread = compare(Request(base=base, trained=(trained,))).content["runs"]["base"]["entropy"]
    assert unread["value"] is None and "--rank-bias" in unread["reason"]


def test_problems_that_can_be_guessed_are_counted_apart(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", ["-" * 8] * 10 + ["+---" * 2] * 6)
    trained = write_run(tmp_path / "trained", ["+-+-" * 2] * 10 + ["+---" * 2] * 6)
    # the base guesses nine of the ten new ones
    guess = write_run(tmp_path / "guess" / "base", ["---+"] * 9 + ["----"] * 7, prompt="direct", max_tokens=8)
    ledger = compare(Request(base=base, trained=(trained,), guess=guess, names={guess: "guesses"}))
    section = ledger.content["comparisons"][0]
    assert ledger.content["guessable"] == 9
    assert section["subsets"]["guessable=yes"]["cells"]["trained_only"] == 9
    assert section["subsets"]["guessable=no"]["cells"] == {"both": 6, "base_only": 0, "trained_only": 1, "neither": 0}
    assert section["verdict"]["kind"] == "new problems"
    assert section["verdict_not_guessable"]["kind"] == "no difference shown"
    assert [row["guessable"] for row in ledger.rows] == [True] * 9 + [False] * 7
    folder = tmp_path / "ledger"
    words = ["compare", str(base), str(trained), "--guess", str(guess), "-o", str(folder)]
    told = CliRunner().invoke(app, words).stderr
    sentence = "Without the 9 of 16 problems that the base solves without a chain of thought: trained against base: no "
    assert sentence in " ".join(told.split()) and sentence in (folder / "report.html").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="trained is a run of trained: --guess takes a run of the base"):
        compare(Request(base=base, trained=(guess,), guess=trained, allow_different_protocol=True))


@pytest.mark.slow
def test_the_micro_policy_guesses_where_its_chain_would_end(tmp_path: Path) -> None:
    """A chat template that opens the turn behind the chain leaves the policy nothing but an answer."""
    micro = Path(expo_bench.__file__).parent / "assets" / "micro"
    config = json.loads((micro / "tokenizer_config.json").read_text(encoding="utf-8"))
    own = config.get("chat_template") or (micro / "chat_template.jinja").read_text(encoding="utf-8")
    template = tmp_path / "behind.jinja"
    template.write_text(own.replace("<|assistant|>{% endif %}", "<|assistant|>.{% endif %}"), encoding="utf-8")
    shared = ["eval", "-m", "micro", "-b", "micro", "--limit", "40", "--shuffle-seed", "1", "-n", "64"]
    direct = ["--prompt", "direct", "--max-tokens", "8", "--chat-template", str(template)]
    chain = ["--max-tokens", "64"]
    for name, words in (("base", chain), ("guess", direct), ("again", [*chain, "--seed", "1"])):
        done = CliRunner().invoke(app, [*shared, *words, "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    request = Request(base=tmp_path / "base", trained=(tmp_path / "again",), guess=tmp_path / "guess")
    content = compare(request).content
    # one of a hundred answers is right: 64 guesses that all differ would solve about half of the problems
    assert 0 < content["guessable"] < 20
    assert set(content["protocol_differs_in"]["guess"]) == {"chat_template", "max_tokens", "prompt", "prompt_digest"}
    subsets = content["comparisons"][0]["subsets"]
    assert subsets["guessable=yes"]["n_problems"] == content["guessable"]
    assert subsets["guessable=no"]["n_problems"] == 40 - content["guessable"]
