"""What earlier versions wrote is still read: the published results are theirs."""

import json
from pathlib import Path

import pytest

from expo_bench.commands.compare import _COLUMNS, _cells
from expo_bench.reports.ledger_views import sentences
from expo_bench.storage.ledger_folder import LedgerFolder
from expo_bench.storage.run_folder import RunFolder
from expo_bench.studies.learning_curves import Point
from expo_bench.studies.study import load_study, runs
from expo_bench.studies.tables import end_table, ledger_table

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"


def _found(name: str) -> list[pytest.param]:
    paths = sorted(PUBLISHED.rglob(name))
    assert paths
    return [pytest.param(path, id=str(path.parent.relative_to(PUBLISHED))) for path in paths]


@pytest.mark.parametrize("path", _found("manifest.json"))
def test_runs(path: Path) -> None:
    run = RunFolder(path.parent)
    assert run.read_manifest().status == "finished"
    assert run.settings()["model"]
    metrics = [*run.metrics(), *run.likelihood_metrics()]
    assert len(metrics) > 10
    assert {row.value for row in metrics if row.value is not None}


@pytest.mark.parametrize("path", _found("study.yaml"))
def test_studies(path: Path) -> None:
    study = load_study(path)
    assert len(runs(study, path.parent)) == len(study.seeds) * len(study.arms)
    points = [Point(**row) for row in json.loads((path.parent / "curves.json").read_bytes())]
    assert {row.label for row in end_table(points).rows if row.cells} <= set(study.arms)


@pytest.mark.parametrize("path", _found("ledger.json"))
def test_ledgers(path: Path) -> None:
    content = LedgerFolder(path.parent).content()
    table = ledger_table(content)
    assert [row.label for row in table.rows] == [section["trained"] for section in content["comparisons"]]
    for section in content["comparisons"]:
        change, *_ = sentences(section, content)
        assert "these problems: not told" in change
        assert len(_cells(section["subsets"]["all"])) == len(_COLUMNS)
