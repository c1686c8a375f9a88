"use strict";
(() => {
  // tables that are sorted and searched where they stand
  const text = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
  };
  const sorted = new Map();
  const arrange = (table) => {
    const order = sorted.get(table.id);
    if (!order) return;
    const body = table.tBodies[0];
    const number = (value) => (value === "" || value === "–" ? NaN : Number(value.replaceAll(",", "")));
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [text(a, order.column), text(b, order.column)];
      const [u, v] = [number(x), number(y)];
      if (Number.isNaN(u) !== Number.isNaN(v)) return Number.isNaN(u) ? 1 : -1;
      const way = Number.isNaN(u) ? x.localeCompare(y) : u - v;
      return order.down ? -way : way;
    });
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (column === order.column) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  const prepare = () => {
    for (const table of document.querySelectorAll("table.sortable")) {
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        if (head.querySelector("button, .unseen")) return;
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const before = sorted.get(table.id);
          const down = before && before.column === column ? !before.down : !head.classList.contains("text");
          sorted.set(table.id, { column, down });
          arrange(document.getElementById(table.id));
        });
      });
      arrange(table);
    }
    sift();
  };
  const sift = () => {
    for (const table of document.querySelectorAll("table.sortable[id]")) {
      const find = document.querySelector(`[data-find="${table.id}"]`);
      const picks = [...document.querySelectorAll(`[data-pick][data-table="${table.id}"]`)];
      const words = (find ? find.value : "").toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of table.tBodies[0].rows) {
        const has = row.textContent.toLowerCase();
        row.hidden =
          !words.every((word) => has.includes(word)) ||
          picks.some((pick) => pick.value !== "" && row.dataset[pick.dataset.pick] !== pick.value);
        count += row.hidden ? 0 : 1;
      }
      const shown = document.querySelector(`[data-count="${table.id}"]`);
      if (shown) shown.textContent = `${count} of ${table.tBodies[0].rows.length}`;
    }
  };
  document.addEventListener("input", sift);
  document.addEventListener("change", sift);
  prepare();

  // the sample of an address is open
  const open = () => {
    const found = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (found && found.tagName === "DETAILS") {
      found.open = true;
      found.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", open);
  open();

  // a page that lives is asked for again, and its parts are put in place of the old ones where they differ
  const main = document.querySelector("main[data-live]");
  const again = async () => {
    let wait = Number(main.dataset.live);
    try {
      if (!document.hidden) {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (answer.ok) {
          const next = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const part of document.querySelectorAll("[data-part]")) {
            const other = next.querySelector(`[data-part="${part.dataset.part}"]`);
            if (!other || other.innerHTML === part.dataset.was) continue;
            part.dataset.was = other.innerHTML;
            const kept = new Set([...part.querySelectorAll("input:checked")].map((box) => box.value));
            const focus = part.contains(document.activeElement);
            if (focus) continue;
            part.replaceChildren(...other.childNodes);
            for (const box of part.querySelectorAll("input[type=checkbox]")) box.checked = kept.has(box.value);
          }
          prepare();
          const live = next.querySelector("main").dataset.live;
          if (!live) return;
          wait = Number(live);
        }
      }
    } catch {
      wait = 10;
    }
    setTimeout(again, 1000 * wait);
  };
  if (main) setTimeout(again, 1000 * Number(main.dataset.live));
})();
(() => {
  // the samples of a site: the list comes in pieces, and is searched, filtered and sorted here
  const table = document.querySelector("table[data-pieces]");
  const form = document.querySelector("form[role=search]");
  if (!table || !form || Number(table.dataset.pieces) === 0) return;
  const count = Number(table.dataset.pieces);
  const rows = [];
  const pages = new Map();
  let [first, turn, read] = [0, 0, 0];
  const told = document.querySelector("[data-part=told]");
  const pager = document.querySelector("[data-part=pager]");
  const wanted = (name) => (form.elements[name] ? form.elements[name].value.trim() : "");
  const load = async (pieces) => {
    while (read < Math.min(pieces, count)) {
      const answer = await fetch(`samples/${read}.json`);
      rows.push(...(await answer.json()));
      read += 1;
    }
  };
  const page = async (link) => {
    const address = link.split("#")[0];
    if (!pages.has(address)) {
      const answer = await fetch(address);
      pages.set(address, new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    return pages.get(address);
  };
  const written = (element) => {
    const copy = element.cloneNode(true);
    for (const math of copy.querySelectorAll("math")) math.remove();
    return copy.textContent.toLowerCase();
  };
  const has = async (row, words) => {
    if (wanted("where") === "answer") return row.extracted.toLowerCase().includes(words);
    const shown = await page(row.link);
    const name = decodeURIComponent(row.link.split("#")[1]);
    const found = wanted("where") === "question" ? shown.querySelector(".said") : shown.querySelector(`#${name} pre`);
    return Boolean(found) && written(found).includes(words);
  };
  const number = (text) => (text === "" || text === "–" || text === null ? NaN : Number(`${text}`.replaceAll(",", "")));
  const passes = (row) => {
    const alike = ["benchmark", "level", "cell", "guessable"].every(
      (name) => wanted(name) === "" || row[name] === wanted(name),
    );
    const verdict = form.elements.verdict.selectedOptions[0].textContent;
    return (
      alike &&
      (wanted("subject") === "" || row.subjects.includes(wanted("subject"))) &&
      (wanted("verdict") === "" || row.verdict === verdict) &&
      (wanted("least") === "" || number(row.tokens) >= Number(wanted("least"))) &&
      (wanted("most") === "" || number(row.tokens) <= Number(wanted("most"))) &&
      (wanted("agreement") === "" || number(row.agreement) <= Number(wanted("agreement")))
    );
  };
  const sorted = (found) => {
    const sort = wanted("sort");
    const column = sort.replace("-", "");
    if (column === "") return found;
    const way = sort.startsWith("-") ? -1 : 1;
    const of = (row) => (column === "problem" ? row.problem : number(row[column]));
    const compare = (a, b) => {
      const [x, y] = [of(a), of(b)];
      if (column === "problem") return x.localeCompare(y);
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : way * (x - y);
    };
    return [...found].sort(compare);
  };
  const cell = (tag, className, ...content) => {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...content);
    return made;
  };
  const line = ({ link, teaser, level, sample, outcome, verdict, extracted, tokens, agreement }) => {
    const made = document.createElement("tr");
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.append(cell("span", "teaser", teaser));
    const head = cell("th", "text", anchor);
    head.scope = "row";
    const answer = cell("code", "extracted", extracted);
    made.append(head, cell("td", "text", level), cell("td", "", String(sample)));
    made.append(cell("td", "text", cell("span", `badge ${outcome}`, verdict)), cell("td", "text", answer));
    made.append(cell("td", "", tokens), cell("td", "", agreement));
    return made;
  };
  const step = (words, to) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.addEventListener("click", () => show(to));
    return button;
  };
  const show = async (start) => {
    const own = ++turn;
    first = start;
    const words = wanted("q").toLowerCase();
    const plain = [...new FormData(form).values()].every((value) => value === "");
    await load(plain ? Math.ceil((first + 50) / 2000) : count);
    let found = sorted(rows.filter(passes));
    if (words !== "") {
      const hits = [];
      for (const [place, row] of found.entries()) {
        if (own !== turn) return;
        if (await has(row, words)) hits.push(row);
        if (place % 200 === 0) told.textContent = `${place} of ${found.length} samples searched, ${hits.length} found`;
      }
      found = hits;
    }
    if (own !== turn) return;
    const total = plain ? Number(table.dataset.rows) : found.length;
    table.tBodies[0].replaceChildren(...found.slice(first, first + 50).map(line));
    told.textContent = `${total ? first + 1 : 0} to ${Math.min(first + 50, total).toLocaleString("en")} of ${total.toLocaleString("en")} samples.`;
    pager.replaceChildren();
    if (first > 0) pager.append(step("Earlier", Math.max(0, first - 50)));
    if (first + 50 < total) pager.append(step("Later", first + 50));
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show(0);
  });
  show(0);
})();
