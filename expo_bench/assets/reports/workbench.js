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
