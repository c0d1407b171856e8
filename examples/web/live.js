// Shows names as they reach Redis, without a reload: /changes names them. Without it the page is as it was.
'use strict';

const rows = new Map();
for (const row of document.querySelectorAll('#names tbody tr')) {
  rows.set(row.cells[0].textContent.trim(), row);
}

function show(row, name) {
  const [, cell, from] = row.cells;
  if (cell.textContent.trim() === (name ?? 'unknown')) {
    return;
  }
  cell.textContent = name ?? '';
  from.textContent = '';
  if (name === null) {
    cell.append(Object.assign(document.createElement('em'), { textContent: 'unknown' }));
  } else {
    from.append(Object.assign(document.createElement('span'), { className: 'from redis', textContent: 'redis' }));
  }
  row.className = 'changed';
}

new EventSource('/changes').onmessage = ({ data }) => {
  for (const [id, name] of Object.entries(JSON.parse(data))) {
    show(rows.get(id), name);
  }
};
