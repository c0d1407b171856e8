<?php
/*
 * What the reader sees: $rows, $redis and $mysql as read() answers them, $notice, $problem, $changed,
 * $took, and what the form holds: $chosen and $typed. Included by index.php.
 */
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Redis first, MySQL second</title>
<style>
  :root {
    --ground: #f4f5f7; --paper: #fff; --ink: #1d2330; --quiet: #5d6675; --line: #e3e6eb;
    --redis: #b3261e; --redis-ground: #fdecea; --mysql: #0b5cad; --mysql-ground: #e7f1fb;
    --good: #1c6b3c; --good-ground: #e6f4ea; --warn: #7a4b00; --warn-ground: #fff3dc;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ground: #14171d; --paper: #1d2129; --ink: #e8eaee; --quiet: #9aa3b2; --line: #2e343f;
      --redis: #ff9d94; --redis-ground: #43201e; --mysql: #8fc3f8; --mysql-ground: #162f49;
      --good: #8ed6a8; --good-ground: #173323; --warn: #f5c66b; --warn-ground: #3a2c10;
    }
  }
  * { box-sizing: border-box; }
  body { margin: 0; padding: 1.5rem 1rem 3rem; background: var(--ground); color: var(--ink);
         font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
  main { max-width: 34rem; margin: 0 auto; }
  h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; }
  p { margin: 0; }
  header p { color: var(--quiet); }
  .card, .notice { margin-top: 1rem; border-radius: .75rem; }
  .card { background: var(--paper); border: 1px solid var(--line); overflow: hidden; }
  .notice { padding: .75rem 1rem; background: var(--warn-ground); color: var(--warn); }
  .notice.good { background: var(--good-ground); color: var(--good); }
  .servers { display: grid; grid-template-columns: 1fr 1fr; }
  .servers div { padding: .75rem 1rem; }
  .servers div + div { border-left: 1px solid var(--line); }
  .servers small { display: block; color: var(--quiet); overflow-wrap: anywhere; }
  table { width: 100%; border-collapse: collapse; }
  th, td { padding: .5rem 1rem; text-align: left; }
  thead th { padding-top: .75rem; font-size: .8rem; font-weight: 600; color: var(--quiet); }
  tbody tr { border-top: 1px solid var(--line); }
  th:first-child, td:first-child { width: 4rem; color: var(--quiet); font-variant-numeric: tabular-nums; }
  th:last-child, td:last-child { width: 7rem; text-align: right; }
  td:nth-child(2) { overflow-wrap: anywhere; }
  tr.changed td { background: var(--good-ground); }
  em { color: var(--quiet); }
  .from { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; font-size: .85rem; font-weight: 600; }
  .redis { color: var(--redis); background: var(--redis-ground); }
  .mysql { color: var(--mysql); background: var(--mysql-ground); }
  form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; padding: 1rem; }
  form h2 { flex: 1 0 100%; margin: 0; font-size: 1rem; }
  label { font-size: .8rem; font-weight: 600; color: var(--quiet); }
  label.name { flex: 1 1 8rem; }
  input, select, button { display: block; width: 100%; min-height: 2.75rem; margin-top: .25rem; padding: 0 .75rem; border: 1px solid var(--line);
                          border-radius: .5rem; background: var(--ground); color: var(--ink); font: inherit; font-size: 1rem; font-weight: 400; }
  button, a.button { flex: 0 0 auto; width: auto; padding: 0 1.25rem; border: 0; background: var(--ink); color: var(--paper);
                     font-weight: 600; cursor: pointer; }
  a.button { display: inline-flex; align-items: center; min-height: 2.5rem; border-radius: .5rem; text-decoration: none; }
  :focus-visible { outline: 3px solid var(--mysql); outline-offset: 1px; }
  footer { display: flex; justify-content: space-between; align-items: center; gap: 1rem; margin-top: 1rem; color: var(--quiet); }
</style>
</head>
<body>
<main>
  <header>
    <h1>Redis first, MySQL second</h1>
    <p>Nine names, and where each came from.</p>
  </header>

<?php if ($problem !== null): ?>
  <p class="notice" id="problem" role="alert"><?= h($problem) ?></p>
<?php endif ?>
<?php if ($notice !== null): ?>
  <p class="notice" id="notice" role="alert"><?= h($notice) ?></p>
<?php endif ?>
<?php if (isset($rows[$changed])): ?>
  <p class="notice good" id="changed" role="status">Row <?= $changed ?> is changed in MySQL. The trigger, gearmand
    and the worker bring it to Redis, and it is shown here once it is there; or reload.</p>
<?php endif ?>

  <section class="card servers" aria-label="Servers">
<?php foreach (['redis' => $redis, 'mysql' => $mysql] as $id => $server): ?>
    <div id="<?= $id ?>"><strong><?= h($server->name) ?></strong> <small><?= h(report($server, $rows)) ?></small></div>
<?php endforeach ?>
  </section>

  <section class="card">
    <table id="names">
      <thead><tr><th scope="col">id</th><th scope="col">name</th><th scope="col">from</th></tr></thead>
      <tbody>
<?php foreach ($rows as $id => ['name' => $name, 'from' => $from]): ?>
        <tr<?= $id === $changed ? ' class="changed"' : '' ?>>
          <td><?= $id ?></td>
          <td><?= $name === null ? '<em>' . ($from === null ? 'unknown' : 'NULL') . '</em>' : h($name) ?></td>
          <td><?php if ($from !== null): ?><span class="from <?= $from ?>"><?= $from ?></span><?php endif ?></td>
        </tr>
<?php endforeach ?>
      </tbody>
    </table>
  </section>

  <section class="card">
    <form method="post" action="/">
      <h2>Change a name in MySQL</h2>
      <label>id
        <select name="id">
<?php foreach (array_keys($rows) as $id): ?>
          <option<?= $id === $chosen ? ' selected' : '' ?>><?= $id ?></option>
<?php endforeach ?>
        </select>
      </label>
      <label class="name">new name, 1 to <?= NAME_LENGTH ?> characters
        <input name="name" value="<?= h($typed) ?>" required maxlength="<?= NAME_LENGTH ?>" autocomplete="off" autocapitalize="off">
      </label>
      <button>Change</button>
    </form>
  </section>

  <footer>
    <span id="took"><?= milliseconds($took) ?> for this page</span>
    <a class="button" href="/">Reload</a>
  </footer>
</main>
<script src="/live.js"></script>
</body>
</html>
