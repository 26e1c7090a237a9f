// Makes the headings of tables sort them. Cells without a value stay last. Without this, tables are in the report's order.
"use strict";
document.querySelectorAll("table.sortable").forEach(function (table) {
  var body = table.tBodies[0];
  var heads = Array.from(table.tHead.rows[0].cells);
  function value(row, column) {
    var cell = row.cells[column];
    var text = cell.hasAttribute("data-sort") ? cell.getAttribute("data-sort") : cell.textContent.trim();
    if (text === "" || text === "–") { return null; }
    var number = Number(text);
    return Number.isNaN(number) ? text : number;
  }
  function compare(a, b) {
    if (typeof a === "number" ? typeof b === "number" : false) { return a - b; }
    return String(a).localeCompare(String(b));
  }
  heads.forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      var sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      Array.from(body.rows).map(function (row) {
        return { row: row, value: value(row, column) };
      }).sort(function (a, b) {
        if (a.value === null || b.value === null) { return (a.value === null) - (b.value === null); }
        return sign * compare(a.value, b.value);
      }).forEach(function (entry) { body.appendChild(entry.row); });
    });
  });
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (part) { part.open = true; });
});
// With #selfcheck in the address, the page tests itself and writes what it finds on its root element, where a test reads it.
(function () {
  if (location.hash !== "#selfcheck") { return; }
  var root = document.documentElement;
  var errors = 0;
  var refused = 0;
  // The page's policy forbids whatever would be loaded.
  document.addEventListener("securitypolicyviolation", function () { refused += 1; });
  window.addEventListener("error", function () { errors += 1; });
  function numbers(table, column) {
    return Array.from(table.tBodies[0].rows).map(function (row) { return row.cells[column].getAttribute("data-sort"); })
      .filter(function (text) { return text !== null; }).map(Number);
  }
  function ascends(list) {
    return list.every(function (value, index) { return index === 0 ? true : value >= list[index - 1]; });
  }
  function sorts(table) {
    var columns = Array.from(table.tHead.rows[0].cells);
    return columns.slice(1).every(function (head, index) {
      var button = head.querySelector("button");
      button.click();
      var up = ascends(numbers(table, index + 1));
      button.click();
      return up ? ascends(numbers(table, index + 1).reverse()) : false;
    });
  }
  function overflow() { return Math.max(0, root.scrollWidth - root.clientWidth); }
  window.addEventListener("load", function () {
    var tables = Array.from(document.querySelectorAll("table.sortable"));
    root.dataset.sorted = String(tables.every(sorts));
    root.dataset.requests = String(refused + performance.getEntriesByType("resource").length);
    root.dataset.overflow = String(overflow());
    root.dataset.errors = String(errors);
    // A frame, because a window has a least width that is above a phone's.
    var phone = document.createElement("iframe");
    phone.style.width = "390px";
    phone.srcdoc = "\u003c!DOCTYPE html>" + root.outerHTML;
    phone.addEventListener("load", function () {
      var inside = phone.contentDocument;
      var wide = Array.from(inside.querySelectorAll("body *")).filter(function (element) {
        return element.closest(".scroll, pre, svg") === null ? element.getBoundingClientRect().right > 391 : false;
      });
      root.dataset.phoneWidth = String(inside.documentElement.clientWidth);
      root.dataset.phoneOverflow = String(inside.documentElement.scrollWidth - inside.documentElement.clientWidth);
      root.dataset.widest = wide.slice(0, 3).map(function (element) { return element.tagName + "." + element.className; }).join(" ");
      phone.remove();
    });
    document.body.appendChild(phone);
  });
}());
