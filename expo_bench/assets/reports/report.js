"use strict";
(() => {
  const form = document.querySelector(".filters");
  if (!form) return;
  const problems = [...document.querySelectorAll(".problem")];
  const shown = form.querySelector("output");
  const wanted = (name) => (form.elements[name] ? form.elements[name].value : "");
  const update = () => {
    let count = 0;
    for (const problem of problems) {
      const outcome = wanted("outcome");
      let samples = 0;
      for (const sample of problem.querySelectorAll(".sample")) {
        sample.hidden = outcome !== "" && sample.dataset.outcome !== outcome;
        samples += sample.hidden ? 0 : 1;
      }
      problem.hidden =
        (wanted("level") !== "" && problem.dataset.level !== wanted("level")) ||
        (wanted("benchmark") !== "" && problem.dataset.benchmark !== wanted("benchmark")) ||
        (outcome !== "" && samples === 0);
      count += problem.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${problems.length} problems`;
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("[name=open]").addEventListener("click", () => {
    const visible = problems.filter((problem) => !problem.hidden);
    const open = !visible.every((problem) => problem.open);
    for (const problem of visible) problem.open = open;
  });
  form.hidden = false;
  update();
})();
