'use strict';
/* Shared by the pages: building elements (text is only ever text), figures as people read them, tables and charts that change in place, and asking again. */
const $ = id => document.getElementById(id);

function el(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined && v !== false) e.setAttribute(k, v === true ? '' : v);
    e.append(...children.filter(c => c !== null && c !== undefined));
    return e;
}

function say(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

const known = v => typeof v === 'number' && isFinite(v);
const count = v => known(v) ? Math.round(v).toLocaleString('en') : '–';
const rate = v => !known(v) ? '–' : (v >= 100 || v === 0 ? count(v) : v >= 10 ? v.toFixed(1) : v.toFixed(2)) + '/s';
const perSecond = (s, name) => s[name].map(v => known(v) ? v * 1000 / s.step_ms : null); /* of a series, what each step added */
const share = v => known(v) ? (v * 100).toLocaleString('en', {maximumFractionDigits: 2}) + ' %' : '–';

function span(ms) {
    if (!known(ms)) return '–';
    const a = Math.abs(ms), sign = ms < 0 ? '−' : '';
    const [v, unit] = a < 1000 ? [a, 'ms'] : a < 120000 ? [a / 1000, 's'] : a < 7200000 ? [a / 60000, 'min'] : a < 172800000 ? [a / 3600000, 'h'] : [a / 86400000, 'days'];
    return sign + Number(v >= 100 ? v.toFixed(0) : unit === 'ms' ? v.toPrecision(2) : v.toFixed(1)) + ' ' + unit;
}

const ago = (ms, now) => known(ms) && ms > 0 ? span(Math.max(0, now - ms)) + ' ago' : 'never';
const clock = ms => known(ms) && ms > 0 ? new Date(ms).toISOString().replace('T', ' ').replace(/\.\d+Z$/, 'Z') : '–';

function bytes(v) {
    if (!known(v)) return '–';
    let unit = 0;
    for (; v >= 1024 && unit < 4; unit++) v /= 1024;
    return (unit ? v.toFixed(1) : count(v)) + ' ' + ['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit];
}

/* Tiles of a <dl>: [[name, value, more]]; what is there already only changes its text. */
function tiles(list, items) {
    while (list.children.length > items.length) list.lastChild.remove();
    items.forEach(([name, value, more], i) => {
        let tile = list.children[i];
        if (!tile) list.append(tile = el('div', null, el('dt'), el('dd'), el('dd')));
        say(tile.children[0], name);
        say(tile.children[1], value);
        say(tile.children[2], more || '');
    });
}

/* An empty table in a region that scrolls by itself on narrow screens. Columns: 'Name', or 'Name|class'. */
function table(id, caption, columns) {
    const head = columns.map(c => { const [name, kind] = c.split('|'); return el('th', {scope: 'col', class: kind === 'n' && 'n'}, name); });
    const t = el('table', {id}, el('caption', {id: id + '-caption'}, caption), el('thead', null, el('tr', null, ...head)), el('tbody'));
    t.columns = columns.map(c => c.split('|')[1] || '');
    return el('div', {class: 'wide', role: 'region', tabindex: '0', 'aria-labelledby': id + '-caption'}, t);
}

/* Rows of such a table: lists of texts and nodes. Nodes stay as they are when the row's key stays, so that what is open or has the focus remains. */
function rows(id, list, none) {
    const t = $(id), body = t.tBodies[0], had = new Map();
    for (const tr of [...body.rows]) {
        if (tr.key === undefined || had.has(tr.key)) tr.remove();
        else had.set(tr.key, tr);
    }
    if (!list.length && none) list = [{key: '', cells: [none], all: true}];
    list.forEach((row, at) => {
        const key = (row.all ? 'none ' : 'row ') + row.key;
        let tr = had.get(key);
        if (!tr || tr.cells.length !== row.cells.length) {
            if (tr) tr.remove();
            tr = el('tr');
            tr.key = key;
            row.cells.forEach((c, i) => {
                const first = i === 0 && !row.all;
                tr.append(el(first ? 'th' : 'td', {scope: first && 'row', class: row.all ? 'soft' : t.columns[i] || null, colspan: row.all ? t.columns.length : null}));
            });
        }
        had.delete(key);
        row.cells.forEach((c, i) => {
            if (!(c instanceof Node)) say(tr.cells[i], String(c));
            else if (!tr.cells[i].firstChild || row.fresh) tr.cells[i].replaceChildren(c);
        });
        if (body.rows[at] !== tr) body.insertBefore(tr, body.rows[at] || null);
    });
    for (const tr of had.values()) tr.remove();
}

/* A line chart with its words beside it: values per series, null = not known. */
function chart(box, title, series, show, seconds) {
    const ns = 'http://www.w3.org/2000/svg';
    if (!box.firstChild) {
        const svg = document.createElementNS(ns, 'svg');
        svg.setAttribute('viewBox', '0 0 300 100');
        svg.setAttribute('preserveAspectRatio', 'none');
        svg.setAttribute('role', 'img');
        series.forEach((s, i) => {
            const line = document.createElementNS(ns, 'polyline');
            line.setAttribute('class', i ? 'two' : 'one');
            svg.append(line);
        });
        box.append(el('figcaption', null, el('b', null, title), ...series.map((s, i) => el('span', {class: i ? 'key second' : 'key'}))), svg, el('div', {class: 'soft'}));
    }
    const top = Math.max(0, ...series.flatMap(s => s.values.filter(known))), svg = box.querySelector('svg');
    const words = series.map(s => {
        const v = s.values.filter(known), last = s.values[s.values.length - 1];
        return s.name + ': ' + (v.length ? show(last) + ', highest ' + show(Math.max(...v)) : seconds ? 'not known' : 'nothing yet');
    });
    series.forEach((s, i) => {
        const n = s.values.length, points = [];
        s.values.forEach((v, k) => { if (known(v)) points.push((n > 1 ? k * 300 / (n - 1) : 300).toFixed(1) + ',' + (top ? 97 - v * 94 / top : 97).toFixed(1)); });
        if (points.length === 1) points.unshift('0,' + points[0].split(',')[1]);
        svg.children[i].setAttribute('points', points.join(' '));
        say(box.querySelectorAll('figcaption span')[i], words[i]);
    });
    const about = seconds ? 'the last ' + span(seconds * 1000) + ', up to ' + show(top) : 'nothing yet';
    svg.setAttribute('aria-label', title + ', ' + about + '. ' + words.join('; '));
    say(box.lastChild, about);
}

function badge(node, good, text) {
    node.className = 'badge ' + (good ? 'good' : 'bad');
    say(node, text);
}

/* Asks for an address again and again, not while the page is out of sight or paused. seen(data) or failed(why). */
function follow(address, headers, every, seen, failed) {
    let timer = 0, busy = false, paused = false;
    async function ask() {
        clearTimeout(timer);
        if (busy || paused || document.hidden) return;
        busy = true;
        const stop = new AbortController(), late = setTimeout(() => stop.abort(), 10000);
        try {
            const r = await fetch(address, {headers: headers(), cache: 'no-store', signal: stop.signal});
            if (!r.ok) throw new Error((await r.json().catch(() => ({}))).error || 'the server answers with status ' + r.status);
            seen(await r.json());
        } catch (e) {
            failed(e.name === 'AbortError' ? 'no answer within 10 s' : e instanceof TypeError ? 'the server cannot be reached' : e.message);
        }
        clearTimeout(late);
        busy = false;
        timer = setTimeout(ask, every);
    }
    document.addEventListener('visibilitychange', ask);
    $('skip').addEventListener('click', e => { /* and the address stays as it is: it may hold a token */
        e.preventDefault();
        $('main').focus();
    });
    const button = $('pause');
    button.addEventListener('click', () => {
        paused = !paused;
        say(button, paused ? 'Go on' : 'Pause');
        ask();
    });
    ask();
    return ask;
}
