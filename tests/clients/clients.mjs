// SPDX-License-Identifier: Apache-2.0
// node clients.mjs SOCKET NODE_MODULES [stateful]: what applications do, with each client of package.json; stateful:
// also transactions, scripts, publish/subscribe and blocking commands.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const [socket, modules, stateful] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), 'here.js'));

// Each client as one object: call(...words) gives the plain reply, pipeline(list) those of many at once.
async function withIoredis(options) {
  const { Redis } = require('ioredis');
  const c = new Redis({ path: socket, ...options });
  return {
    name: `ioredis ${require('ioredis/package.json').version} ${JSON.stringify(options)}`,
    call: (...words) => c.call(...words),
    many: async (list) => (await c.pipeline(list.map((l) => ['call', ...l])).exec()).map(([e, v]) => { if (e) throw e; return v; }),
    hgetall: (key) => c.hgetall(key),
    scanAll: async (match) => { const all = []; for await (const keys of c.scanStream({ match, count: 7 })) all.push(...keys); return all; },
    multi: async (list) => (await list.reduce((m, l) => m.call(...l), c.multi()).exec()).map(([e, v]) => { if (e) throw e; return v; }),
    script: (text, key, arg) => { c.defineCommand('own', { numberOfKeys: 1, lua: text }); return c.own(key, arg); },
    listen: async (channel, heard) => {
      const l = c.duplicate();
      l.on('message', (ch, m) => heard(ch, m));
      await l.subscribe(channel);
      return () => l.quit();
    },
    another: async () => { const d = c.duplicate(); return { call: (...words) => d.call(...words), end: () => d.quit() }; },
    end: () => c.quit(),
  };
}

async function withNodeRedis(name, options) {
  const { createClient } = require(name);
  const c = createClient({ socket: { path: socket }, ...options });
  c.on('error', (e) => { throw e; });
  await c.connect();
  return {
    name: `${name} ${require(`${name}/package.json`).version} ${JSON.stringify(options)}`,
    call: (...words) => c.sendCommand(words),
    many: (list) => Promise.all(list.map((l) => c.sendCommand(l))),
    hgetall: async (key) => ({ ...(await c.hGetAll(key)) }),
    scanAll: async (match) => { const all = []; for await (const k of c.scanIterator({ MATCH: match, COUNT: 7 })) all.push(...[k].flat()); return all; },
    multi: (list) => list.reduce((m, l) => m.addCommand(l), c.multi()).exec(),
    script: (text, key, arg) => c.eval(text, { keys: [key], arguments: [arg] }),
    listen: async (channel, heard) => {
      const l = c.duplicate();
      l.on('error', (e) => { throw e; });
      await l.connect();
      await l.subscribe(channel, (m, ch) => heard(ch, m));
      return () => (l.close ? l.close() : l.quit());
    },
    another: async () => {
      const d = c.duplicate();
      await d.connect();
      return { call: (...words) => d.sendCommand(words), end: () => (d.close ? d.close() : d.quit()) };
    },
    end: () => (c.close ? c.close() : c.quit()),
  };
}

async function state(c, p) {
  assert.deepEqual(await c.multi([['SET', p + 't', '1'], ['INCR', p + 't'], ['GET', p + 't']]), ['OK', 2, '2']);
  const add = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
  assert.equal(await c.script(add, p + 't', '40'), 42);
  assert.equal(await c.script(add, p + 't', '1'), 43);

  const heard = [];
  let all;
  const done = new Promise((resolve) => { all = resolve; });
  const stop = await c.listen(p + 'ch', (ch, m) => { heard.push([ch, m]); if (heard.length === 100) all(); });
  for (let i = 0; i < 100; i++) assert.equal(await c.call('PUBLISH', p + 'ch', String(i)), 1);
  await done;
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, i) => [p + 'ch', String(i)]));
  await stop();

  const other = await c.another();
  const waits = other.call('BLPOP', p + 'q', '60');
  await c.call('RPUSH', p + 'q', 'first', 'second');
  assert.deepEqual(await waits, [p + 'q', 'first']);
  assert.equal(await other.call('BLMOVE', p + 'q', p + 'r', 'LEFT', 'RIGHT', '60'), 'second');
  assert.equal(await other.call('BLPOP', p + 'q', '0.05'), null);
  await other.end();
  assert.equal(await c.call('DEL', p + 't', p + 'r'), 2);
}

async function use(c) {
  const p = `npm:${Math.random().toString(36).slice(2)}:`;
  assert.equal(await c.call('SET', p + 'k', 'värde'), 'OK');
  assert.equal(await c.call('GET', p + 'k'), 'värde');
  assert.equal(await c.call('GET', p + 'none'), null);
  assert.equal(await c.call('INCRBY', p + 'n', '41'), 41);
  assert.equal(await c.call('INCR', p + 'n'), 42);
  assert.equal(await c.call('SET', p + 'k', 'x', 'PX', '60000', 'NX'), null);
  assert.equal(await c.call('PEXPIRE', p + 'n', '60000'), 1);
  assert.ok(await c.call('PTTL', p + 'n') > 50000);
  assert.deepEqual(await c.call('MGET', p + 'k', p + 'none', p + 'n'), ['värde', null, '42']);
  assert.equal(await c.call('HSET', p + 'h', 'a', '1', 'b', '2'), 2);
  assert.deepEqual({ ...await c.hgetall(p + 'h') }, { a: '1', b: '2' });
  await assert.rejects(() => Promise.resolve(c.call('INCR', p + 'h')), /WRONGTYPE/);
  await assert.rejects(() => Promise.resolve(c.call('NOSUCHCOMMAND', 'a')), /unknown command/);

  const names = Array.from({ length: 100 }, (_, i) => `${p}many:${i}`);
  const replies = await c.many(names.flatMap((n, i) => [['SET', n, String(i)], ['GET', n]]));
  assert.deepEqual(replies, names.flatMap((_, i) => ['OK', String(i)]));
  assert.deepEqual((await c.scanAll(`${p}many:*`)).sort(), [...names].sort());
  const big = 'x'.repeat(1 << 20);
  assert.equal(await c.call('SET', p + 'big', big), 'OK');
  assert.equal(await c.call('GET', p + 'big'), big);
  assert.equal(await c.call('DEL', p + 'big', p + 'k', p + 'n', p + 'h', ...names), names.length + 4);
  if (stateful) await state(c, p);
  await c.end();
  console.log(`ok - ${c.name}`);
}

await use(await withIoredis({}));
await use(await withIoredis({ protocol: 2 }));
await use(await withNodeRedis('redis', {}));
await use(await withNodeRedis('redis', { RESP: 2 }));
await use(await withNodeRedis('redis-4', {}));
process.exit(0);
