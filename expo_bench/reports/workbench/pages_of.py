"""An address and its query in, a page out: what the server serves and what the site's files hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from expo_bench.reports.pages import render
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.index_page import index_context
from expo_bench.reports.workbench.ledger_view import ledger_context
from expo_bench.reports.workbench.links import SiteLinks
from expo_bench.reports.workbench.matrix import PAGE, matrix_context
from expo_bench.reports.workbench.plane import chain_context, plane_context
from expo_bench.reports.workbench.prompts_sent import prompt_context
from expo_bench.reports.workbench.run_page import RunPages, crumbs_of, tabs
from expo_bench.reports.workbench.sample_pages import find_problem, problem_context, problem_link, samples_context
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.reports.workbench.training_pages import rollouts_context, study_context, training_context
from expo_bench.reports.workbench.verdicts import Provisional
from expo_bench.storage.run_folder import RunFolder

Query = Mapping[str, Sequence[str]]


class Pages:
    """The pages over one folder."""

    def __init__(self, shelf: Shelf, site: str = "") -> None:
        """Take the folder; `site` is the date of a site that is written once."""
        self.shelf, self._site = shelf, site
        # a site has no page behind a query
        self._most_rows = 10**9 if site else PAGE
        self._provisional = Provisional()
        self._runs = RunPages(shelf, self._provisional)

    def close(self) -> None:
        """End what works in the background."""
        self._provisional.close()

    def page(self, address: str, query: Query) -> str | None:
        """Return the page at an address such as "demo/base/samples.html", each part quoted; None where there is none.

        Raises:
            UserError: what the page would show is damaged.
        """
        found = self._context(address, query)
        if found is None:
            return None
        template, context = found
        up = "../" * address.count("/")
        return render(template, {**context, "up": up, "site": self._site}, workbench=True)

    def file(self, address: str) -> Path | None:
        """Return a file that is served as it is: the report of an entry."""
        place, _, name = address.rpartition("/")
        entry = self.shelf.entry(place)
        path = entry.path / name if entry and name == "report.html" else None
        return path if path and path.is_file() and not path.is_symlink() else None

    def _context(self, address: str, query: Query) -> tuple[str, dict[str, Any]] | None:
        if address == "index.html":
            return "workbench_index.html.j2", index_context(
                self.shelf.entries(), self.shelf.root.resolve().name, self.shelf.links
            )
        if address in ("compare.html", "beside.html"):
            return self._of_several(query.get("run", []), (query.get("problem") or [""])[0], query)
        if isinstance(self.shelf.links, SiteLinks):
            name, _, problem = address.removesuffix(".html").partition("/")
            if name in self.shelf.links.sets:
                return self._of_several(self.shelf.links.sets[name], unquote(problem), query)
        place, _, name = address.rpartition("/")
        if entry := self.shelf.entry(place):
            return self._of_entry(entry, name, {key: values[0] for key, values in query.items()})
        above, _, kind = place.rpartition("/")
        entry = self.shelf.entry(above, "run", "training")
        if entry and name.endswith(".html"):
            return self._inside(entry, kind, unquote(name.removesuffix(".html")))
        return None

    def _of_entry(self, entry: Entry, name: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        if name == "index.html" and entry.kind == "run":
            return "workbench_run.html.j2", self._runs.context(entry)
        if name == "samples.html" and entry.kind == "run":
            context = samples_context(self.shelf, entry, query)
            return "workbench_samples.html.j2", self._still(context) if self._site else context
        if name == "problems.html" and entry.kind == "run":
            crumbs, views = crumbs_of(self.shelf, entry, "Problems"), tabs(entry)
            own = f"{entry.address}/problems.html"
            context = matrix_context(
                self.shelf,
                [entry],
                query,
                lambda problem: problem_link(entry, problem),
                own,
                crumbs,
                views,
                self._most_rows,
            )
            return "workbench_matrix.html.j2", context
        if name == "plane.html" and entry.kind == "run":
            return "workbench_plane.html.j2", plane_context(self.shelf, entry, query)
        if name == "index.html" and entry.kind == "training":
            return "workbench_training.html.j2", training_context(self.shelf, entry)
        if name == "index.html" and entry.kind == "study":
            return "workbench_study.html.j2", study_context(self.shelf, entry)
        if name == "index.html" and entry.kind == "ledger":
            return "workbench_ledger.html.j2", ledger_context(self.shelf, entry, crumbs_of(self.shelf, entry))
        return None

    def _still(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return the list of samples as a site has it: its page turns the pages itself."""
        return {**context, "earlier": None, "later": None}

    def _of_several(self, chosen: Sequence[str], problem: str, query: Query) -> tuple[str, dict[str, Any]] | None:
        """Return runs as a matrix, or one problem of them side by side."""
        found = [self.shelf.entry(one, "run") for one in dict.fromkeys(chosen)]
        runs = [one for one in found if one is not None and one.manifest is not None]
        if not runs:
            return "workbench_message.html.j2", {
                "title": "Nothing to compare", "lead": "Choose runs on the first page.", "crumbs": [], "tabs": [],
                "tab": "", "live": 0,
            }  # fmt: skip
        addresses = [one.address for one in runs]
        own = self.shelf.links.compare(addresses)
        if problem:
            return self._beside(runs, problem, [("Problem by problem", own)])
        first = {name: values[0] for name, values in query.items()}
        crumbs = [("Problem by problem", "")]
        beside = self.shelf.links.beside(addresses)
        context = matrix_context(self.shelf, runs, first, beside, own, crumbs, [], self._most_rows)
        return "workbench_matrix.html.j2", context

    def _beside(
        self, runs: Sequence[Entry], name: str, crumbs: list[tuple[str, str]]
    ) -> tuple[str, dict[str, Any]] | None:
        problem = next(filter(None, (find_problem(self.shelf.index(run), name) for run in runs)), None)
        if problem is None:
            return None
        crumbs = [*crumbs, (problem.problem_id, "")]
        return "workbench_problem.html.j2", problem_context(self.shelf, runs, problem, crumbs)

    def _inside(self, entry: Entry, kind: str, name: str) -> tuple[str, dict[str, Any]] | None:
        if kind == "rollouts" and entry.kind == "training" and name.isdigit():
            context = rollouts_context(self.shelf, entry, int(name))
            return ("workbench_rollouts.html.j2", context) if context else None
        if kind == "chains" and entry.kind == "run":
            chain = chain_context(self.shelf, entry, name)
            return ("workbench_chain.html.j2", chain) if chain else None
        if kind not in ("problems", "prompts") or not RunFolder(entry.path).problems_path.is_file():
            return None
        problem = find_problem(self.shelf.index(entry), name)
        manifest = entry.manifest
        if problem is None or (kind == "prompts" and manifest is None):
            return None
        if kind == "problems" or manifest is None:
            crumbs = crumbs_of(self.shelf, entry, problem.problem_id)
            prompt = f"{entry.address}/prompts/{quote(name, safe='')}.html" if manifest else ""
            return "workbench_problem.html.j2", problem_context(self.shelf, [entry], problem, crumbs, prompt)
        crumbs = [*crumbs_of(self.shelf, entry, problem.problem_id), ("Prompt", "")]
        crumbs[-2] = (problem.problem_id, problem_link(entry, problem.problem_id))
        common = {"title": f"Prompt of {problem.problem_id}", "crumbs": crumbs, "tabs": [], "tab": "", "live": 0}
        return "workbench_prompt.html.j2", {**common, **prompt_context(manifest, problem)}
