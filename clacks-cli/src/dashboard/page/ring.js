// The tower and its peers on a ring. The table beside it has the same content in words.
const ring = (() => {
  // Room for labels is around the ring.
  const SIZE = 540;
  const MIDDLE = SIZE / 2;
  const RADIUS = 150;
  // More dots than these cannot be told apart.
  const MAX_DOTS = 60;
  const TRAVEL = 450;
  const MAX_TRAVELLERS = 24;
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  const spokes = drawing('g');
  const travellers = drawing('g');
  const dots = drawing('g');
  const own = drawing('circle', { cx: MIDDLE, cy: MIDDLE, r: 34, class: 'own' });
  const held = drawing('text', {
    x: MIDDLE,
    y: MIDDLE - 4,
    'text-anchor': 'middle',
    'dominant-baseline': 'middle',
    class: 'held',
  });
  const unit = drawing('text', { x: MIDDLE, y: MIDDLE + 18, 'text-anchor': 'middle' }, 'held');
  const title = drawing('title');
  const picture = drawing(
    'svg',
    { viewBox: `0 0 ${SIZE} ${SIZE}`, class: 'ring', role: 'img' },
    title,
    spokes,
    travellers,
    own,
    held,
    unit,
    dots,
  );

  function place(index, count) {
    const angle = (2 * Math.PI * index) / count - Math.PI / 2;
    return [MIDDLE + RADIUS * Math.cos(angle), MIDDLE + RADIUS * Math.sin(angle), angle];
  }

  function short(address) {
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon);
    return (host.length > 10 ? host.slice(0, 9) + '…' : host) + address.slice(colon);
  }

  // For the pointer.
  function describe(tower) {
    return `${tower.address}: ${tower.status}, ${plain(tower.received)} received, ${plain(tower.delivered)} delivered`;
  }

  function peer(tower, index, count) {
    const [x, y, angle] = place(index, count);
    const r = count > 30 ? 6 : 9;
    const made = drawing('g', {}, drawing('title'), drawing('circle', { cx: x, cy: y, r }));
    made.children[0].textContent = describe(tower);
    made.children[1].setAttribute('class', `peer ${tower.status}`);
    if (tower.status === 'dead') {
      for (const way of [1, -1])
        made.append(
          drawing('line', {
            x1: x - 5,
            y1: y - 5 * way,
            x2: x + 5,
            y2: y + 5 * way,
            class: 'cross',
          }),
        );
    }
    if (count <= 24) {
      // Beyond 12 towers labels follow the spoke, so that they do not overlap.
      const degrees = (angle * 180) / Math.PI;
      const isLeft = Math.cos(angle) < -0.01;
      const isTurned = count > 12;
      const away = r + 8;
      const [lx, ly] = [x + away * Math.cos(angle), y + away * Math.sin(angle)];
      const middle = !isTurned && Math.abs(Math.cos(angle)) < 0.3;
      const label = drawing('text', {
        x: lx,
        y: middle ? ly + (Math.sin(angle) < 0 ? -4 : 6) : ly,
        'text-anchor': middle ? 'middle' : isLeft ? 'end' : 'start',
        'dominant-baseline': 'middle',
      });
      if (isTurned)
        label.setAttribute('transform', `rotate(${isLeft ? degrees + 180 : degrees} ${lx} ${ly})`);
      label.textContent = short(tower.address);
      made.append(label);
    }
    return made;
  }

  let shape = '';
  let shown = [];

  function draw(state, towers) {
    shown = towers.slice(0, MAX_DOTS);
    setText(held, plain(state.status.queue.messages));
    const { peers } = state.status;
    setText(
      title,
      `This tower holds ${state.status.queue.messages} messages. Peers: ${peers.alive} alive, ${peers.new} new, ${peers.lost} lost, ${peers.dead} dead, ${peers.ignored} ignored. The table of peers names them.`,
    );
    const count = Math.max(1, shown.length);
    const now = shown.map((tower) => `${tower.address} ${tower.status}`).join('\n');
    if (now !== shape) {
      shape = now;
      dots.replaceChildren(...shown.map((tower, index) => peer(tower, index, count)));
      spokes.replaceChildren(
        ...shown.map((tower, index) => {
          const [x, y] = place(index, count);
          return drawing('line', { x1: MIDDLE, y1: MIDDLE, x2: x, y2: y, class: 'spoke' });
        }),
      );
    }
    shown.forEach((tower, index) => {
      setText(dots.children[index].children[0], describe(tower));
      const traffic = state.traffic[tower.address];
      const messages = traffic ? traffic.received + traffic.delivered : 0;
      const spoke = spokes.children[index];
      spoke.setAttribute('class', messages ? 'spoke busy' : 'spoke');
      // The width grows with the logarithm of the messages since the last state.
      spoke.setAttribute('stroke-width', String(1.5 + Math.min(6, Math.log2(1 + messages))));
      if (!messages || calm.matches || document.hidden) return;
      for (const [direction, some] of [
        ['in', traffic.received],
        ['out', traffic.delivered],
      ])
        if (some) send(index, count, direction);
    });
  }

  // A dot that travels along a spoke.
  function send(index, count, direction) {
    if (travellers.children.length >= MAX_TRAVELLERS) return;
    const [x, y] = place(index, count);
    const made = drawing('circle', { r: 4, class: direction });
    const ends = [`translate(${x}px, ${y}px)`, `translate(${MIDDLE}px, ${MIDDLE}px)`];
    if (direction === 'out') ends.reverse();
    travellers.append(made);
    made.animate({ transform: ends }, TRAVEL).onfinish = () => made.remove();
  }

  return { picture, draw, MAX_DOTS };
})();
