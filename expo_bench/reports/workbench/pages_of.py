"""An address and its query in, a page out: what the server serves and what the site's files hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from expo_bench.reports.pages import render
from expo_bench.reports.workbench.entries import Entry
from expo_bench.reports.workbench.index_page import index_context
from expo_bench.reports.workbench.prompts_sent import prompt_context
from expo_bench.reports.workbench.run_page import RunPages, crumbs_of
from expo_bench.reports.workbench.sample_pages import find_problem, problem_context, problem_link, samples_context
from expo_bench.reports.workbench.shelf import Shelf
from expo_bench.reports.workbench.verdicts import Provisional
from expo_bench.storage.run_folder import RunFolder

Query = Mapping[str, Sequence[str]]


class Pages:
    """The pages over one folder."""

    def __init__(self, shelf: Shelf, site: str = "") -> None:
        """Take the folder; `site` is the date of a site that is written once."""
        self.shelf, self._site = shelf, site
        self._provisional = Provisional()
        self._runs = RunPages(shelf, self._provisional)

    def close(self) -> None:
        """End what works in the background."""
        self._provisional.close()

    def page(self, address: str, query: Query) -> str | None:
        """Return the page at an address such as "demo/base/samples.html"; None where there is none.

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
            return "workbench_index.html.j2", index_context(self.shelf.entries(), self.shelf.root.resolve().name)
        place, _, name = address.rpartition("/")
        if entry := self.shelf.entry(place):
            return self._of_entry(entry, name, {key: values[0] for key, values in query.items()})
        above, _, kind = place.rpartition("/")
        entry = self.shelf.entry(above, "run")
        if entry and name.endswith(".html"):
            return self._inside(entry, kind, name.removesuffix(".html"))
        return None

    def _of_entry(self, entry: Entry, name: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        if name == "index.html" and entry.kind == "run":
            return "workbench_run.html.j2", self._runs.context(entry)
        if name == "samples.html" and entry.kind == "run":
            return "workbench_samples.html.j2", samples_context(self.shelf, entry, query)
        return None

    def _inside(self, entry: Entry, kind: str, name: str) -> tuple[str, dict[str, Any]] | None:
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
