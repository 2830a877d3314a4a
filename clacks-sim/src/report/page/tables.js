'use strict';

(() => {
  const { summary } = run;
  const tables = document.getElementById('tables');

  function table(title, sentence, heads, rows) {
    if (!rows.length) return;
    const cell = (kind, value, index) =>
      element(kind, heads[index].endsWith('#') ? { class: 'number' } : {}, value);
    tables.append(
      element('h2', {}, title),
      element('p', { class: 'quiet' }, sentence),
      element(
        'div',
        { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title },
        element(
          'table',
          ['meaning', 'rule', 'violation'].includes(heads.at(-1)) ? { class: 'stack' } : {},
          element(
            'thead',
            {},
            element(
              'tr',
              {},
              ...heads.map((head, index) => cell('th', head.replace(/#$/, ''), index)),
            ),
          ),
          element(
            'tbody',
            {},
            ...rows.map(({ bad, cells }) =>
              element(
                'tr',
                bad ? { class: 'bad' } : {},
                ...cells.map((value, index) => cell('td', value, index)),
              ),
            ),
          ),
        ),
      ),
    );
  }

  function fact(name, ...values) {
    return element('div', {}, element('dt', {}, name), element('dd', {}, ...values));
  }

  document.title = `${summary.scenario}: a Clacks run`;
  document
    .getElementById('head')
    .append(
      element('h1', {}, summary.scenario),
      element('p', { class: 'about' }, summary.about),
      element('p', { class: summary.passed ? 'verdict good' : 'verdict bad' }, summary.verdict),
      element(
        'dl',
        { class: 'facts' },
        fact('towers', plain(summary.towers)),
        fact('simulated', duration(summary.simulated_s, 0.001)),
        fact('took', duration(summary.wall_s)),
        fact('seed', element('code', {}, String(summary.seed))),
        fact('trace hash', element('code', {}, summary.hash)),
        fact('repeat with', element('code', {}, summary.replay)),
      ),
    );

  const figures = (all) =>
    run.figures
      .filter(({ headline }) => headline || all)
      .map(({ name, value, unit, meaning }) => ({
        cells: [name, withUnit(value, unit), unit === 'share' ? '' : unit, meaning],
      }));
  table(
    'Violations',
    'The first violations of each check.',
    ['check', 'at#', 'tower#', 'message#', 'violation'],
    summary.violations.map(({ check, at_s, tower, message, text }) => ({
      bad: true,
      cells: [check, duration(at_s, 0.001), tower ?? '', message ?? '', text],
    })),
  );
  const optional = (value, text) => (value === null ? '' : text(value));
  table(
    'Targets',
    'Numbers that the network should reach. A number with a prediction is compared with a closed form. A missed target is no violation.',
    ['target', 'measured#', 'predicted#', 'number#', 'bounds#', 'result'],
    summary.targets.map(({ name, measured_text, predicted_text, text, bounds, met }) => ({
      bad: !met,
      cells: [
        name,
        optional(measured_text, (shown) => shown),
        optional(predicted_text, (shown) => shown),
        text,
        bounds,
        met ? 'met' : 'missed',
      ],
    })),
  );
  table(
    'Figures',
    'Numbers for the whole run. A count is the total, any other figure is the last value.',
    ['figure', 'value#', 'unit', 'meaning'],
    figures(false),
  );
  table(
    'Checks that ran',
    'Each check looks for violations of one rule.',
    ['check', 'violations#', 'rule'],
    summary.checks.map(({ check, violations, rule }) => ({
      bad: violations > 0,
      cells: [check, plain(violations), rule],
    })),
  );
  table(
    'Roles',
    'Totals of the towers of each role.',
    ['role', 'hops#', 'returned#'],
    summary.roles.map(({ role, hops, returned }) => ({
      cells: [role, plain(hops), plain(returned)],
    })),
  );
  table(
    'Faults',
    'How often each fault was scheduled and happened. Faults without a number are scheduled with a probability or follow from others.',
    ['fault', 'scheduled#', 'happened#', 'meaning'],
    summary.faults.map(({ fault, scheduled, happened, meaning }) => ({
      bad: scheduled > 0 && !happened,
      cells: [fault, optional(scheduled, plain), plain(happened), meaning],
    })),
  );
})();
