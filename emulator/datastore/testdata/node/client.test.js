// Google's Node client as programs use it, over both of its transports. The
// emulator is where DATASTORE_EMULATOR_HOST says.
import assert from 'node:assert/strict';
import {after, test} from 'node:test';
import {Datastore, PropertyFilter, and, or} from '@google-cloud/datastore';
import {PassThroughClient} from 'google-auth-library';

const projectId = 'node-project';
const transports = {
  grpc: {},
  // The fallback is meant for browsers: it wants to be told that there is no
  // TLS, and a client that has no credentials.
  rest: {fallback: 'rest', protocol: 'http', authClient: new PassThroughClient()},
};

for (const [transport, options] of Object.entries(transports)) {
  const namespace = `${transport}-${process.pid}`;
  const datastore = new Datastore({projectId, namespace, ...options});
  const check = (name, f) => test(`${transport}: ${name}`, {timeout: 30_000}, f);
  const key = (...path) => datastore.key({path, namespace});

  check('every type of value comes back as it was', async () => {
    const data = {
      text: 'grüß <&> \u2028',
      whole: 42,
      large: Datastore.int('9007199254740993'),
      half: 0.5,
      flag: true,
      nothing: null,
      bytes: Buffer.from([0, 255, 128]),
      at: new Date('2026-01-02T03:04:05.678Z'),
      place: Datastore.geoPoint({latitude: 1.5, longitude: -2.5}),
      list: [1, 'two', false],
      nested: {deep: {er: ['x']}},
      link: key('Other', 7),
    };
    await datastore.save({key: key('Types', 'a'), data, excludeFromIndexes: ['text', 'nested.deep']});
    const [got] = await datastore.get(key('Types', 'a'), {wrapNumbers: {integerTypeCastFunction: String, properties: ['large']}});
    assert.equal(got.large, '9007199254740993');
    assert.equal(got.text, data.text);
    assert.equal(got.whole, 42);
    assert.equal(got.half, 0.5);
    assert.equal(got.flag, true);
    assert.equal(got.nothing, null);
    assert.deepEqual(got.bytes, data.bytes);
    assert.equal(got.at.getTime(), data.at.getTime());
    assert.deepEqual({...got.place}, {latitude: 1.5, longitude: -2.5});
    assert.deepEqual(got.list, data.list);
    assert.deepEqual(got.nested, data.nested);
    assert.deepEqual(got.link.path, ['Other', '7']);
    assert.deepEqual(got[datastore.KEY].path, ['Types', 'a']);
  });

  check('what is missing is undefined, and deleting it is no error', async () => {
    const [nothing] = await datastore.get(key('Missing', 'a'));
    assert.equal(nothing, undefined);
    await datastore.delete(key('Missing', 'a'));
  });

  check('insert, update, merge and their errors', async () => {
    const k = key('Written', 'a');
    await assert.rejects(datastore.update({key: k, data: {n: 1}}), {code: 5});
    await datastore.insert({key: k, data: {n: 1, kept: true}});
    await assert.rejects(datastore.insert({key: k, data: {n: 2}}), {code: 6});
    await datastore.merge({key: k, data: {n: 3}});
    const [got] = await datastore.get(k);
    assert.deepEqual({n: got.n, kept: got.kept}, {n: 3, kept: true});
    await assert.rejects(datastore.save({key: key('__reserved__', 'a'), data: {}}), {code: 3});
  });

  check('allocated identifiers are complete and differ', async () => {
    const [keys] = await datastore.allocateIds(key('Allocated'), 10);
    assert.equal(new Set(keys.map(k => k.id)).size, 10);
    const k = key('Allocated');
    await datastore.save({key: k, data: {}});
    assert.ok(k.id);
  });

  const numbers = Array.from({length: 30}, (_, n) => ({key: key('Parent', 'p', 'Number', n + 1), data: {n, even: n % 2 === 0, word: `w${n % 3}`}}));

  check('queries filter, order, project and page', async () => {
    await datastore.save(numbers);
    const query = datastore.createQuery(namespace, 'Number').hasAncestor(key('Parent', 'p'));
    const [all] = await datastore.runQuery(query);
    assert.equal(all.length, 30);
    const [some] = await datastore.runQuery(datastore.createQuery(namespace, 'Number')
      .filter(new PropertyFilter('n', '>=', 10)).filter(new PropertyFilter('n', '<', 13)).order('n', {descending: true}));
    assert.deepEqual(some.map(e => e.n), [12, 11, 10]);
    const [keys] = await datastore.runQuery(datastore.createQuery(namespace, 'Number').select('__key__').limit(2));
    assert.deepEqual(keys.map(e => e[datastore.KEY].id), ['1', '2']);
    const [words] = await datastore.runQuery(datastore.createQuery(namespace, 'Number').select('word').order('word').limit(1));
    assert.equal(words[0].word, 'w0');
    const seen = [];
    for (let cursor; ; ) {
      let page = datastore.createQuery(namespace, 'Number').order('n').limit(7);
      if (cursor) page = page.start(cursor);
      const [entities, info] = await datastore.runQuery(page);
      seen.push(...entities.map(e => e.n));
      if (info.moreResults === Datastore.NO_MORE_RESULTS) break;
      cursor = info.endCursor;
    }
    assert.deepEqual(seen, numbers.map(e => e.data.n));
    const streamed = [];
    for await (const e of datastore.runQueryStream(datastore.createQuery(namespace, 'Number').offset(28).order('n'))) streamed.push(e.n);
    assert.deepEqual(streamed, [28, 29]);
  });

  check('composite filters, IN, != and DISTINCT ON', async () => {
    await datastore.save(numbers);
    const run = async q => (await datastore.runQuery(q))[0].map(e => e.n).sort((a, b) => a - b);
    const number = () => datastore.createQuery(namespace, 'Number');
    assert.deepEqual(await run(number().filter(or([new PropertyFilter('n', '=', 3), and([new PropertyFilter('even', '=', true), new PropertyFilter('n', '>', 26)])]))), [3, 28]);
    assert.deepEqual(await run(number().filter(new PropertyFilter('n', 'IN', [1, 5, 99]))), [1, 5]);
    assert.equal((await run(number().filter(new PropertyFilter('n', '!=', 7)))).length, 29);
    const [words] = await datastore.runQuery(number().select('word').groupBy('word').order('word'));
    assert.deepEqual(words.map(e => e.word), ['w0', 'w1', 'w2']);
  });

  check('aggregations', async () => {
    await datastore.save(numbers);
    const q = datastore.createQuery(namespace, 'Number');
    const [[got]] = await datastore.runAggregationQuery(datastore.createAggregationQuery(q).count('total').sum('n', 'sum').average('n', 'average'));
    assert.deepEqual({...got}, {total: 30, sum: 435, average: 14.5});
  });

  check('transactions count without losing anything', async () => {
    const k = key('Counter', 'c');
    const add = async () => {
      for (let attempt = 0; ; attempt++) {
        const tx = datastore.transaction();
        await tx.run();
        try {
          const [counter] = await tx.get(k);
          tx.save({key: k, data: {n: (counter?.n ?? 0) + 1}});
          await tx.commit();
          return;
        } catch (e) {
          await tx.rollback().catch(() => {});
          if (e.code !== 10 || attempt === 20) throw e;
        }
      }
    };
    await Promise.all(Array.from({length: 10}, add));
    const [counter] = await datastore.get(k);
    assert.equal(counter.n, 10);
  });

  check('a rolled back transaction leaves nothing, and is over', async () => {
    const tx = datastore.transaction();
    await tx.run();
    tx.save({key: key('Rolled', 'back'), data: {n: 1}});
    await tx.rollback();
    const [nothing] = await datastore.get(key('Rolled', 'back'));
    assert.equal(nothing, undefined);
    await assert.rejects(tx.commit(), /expired/);
  });

  check('a read-only transaction sees one moment', async () => {
    const k = key('Moment', 'm');
    await datastore.save({key: k, data: {n: 1}});
    const tx = datastore.transaction({readOnly: true});
    await tx.run();
    const [before] = await tx.get(k);
    await datastore.save({key: k, data: {n: 2}});
    const [still] = await tx.get(k);
    await tx.commit();
    assert.deepEqual([before.n, still.n], [1, 1]);
  });

  check('namespaces are apart', async () => {
    const other = datastore.key({path: ['Moment', 'm'], namespace: namespace + '-other'});
    const [nothing] = await datastore.get(other);
    assert.equal(nothing, undefined);
  });

  after(async () => {
    for (const client of datastore.clients_.values()) await client.close();
  });
}
