// The Node app's commands on ioredis, with the load inside Node; `run_load` and `join_all` in load.py do the same.
//
// stdin:  a JSON line {"url", "prefix", "autoPipelining"}, then one for each task: {"task": "load", "operation", "seconds",
//         "load": {"callers", "rooms", "seed", "rate"}} or {"task": "join_all", "room", "users"}. The end of stdin ends the
//         program.
// stdout: the JSON line null when the program is ready, then one for each task: {"operations", "seconds", "p50_ms",
//         "p99_ms", "errors"} or {"seconds", "errors"}.
'use strict';

const readline = require('node:readline');
const Redis = require('ioredis');

const DAY = 86400; // seconds
const CHAT_LIMIT = 20; // messages of a room
const USERS = 5;
const CHOICES = 1024;

let prefix, redis; // set by the first line of stdin

function revive(room) {
  room.createdAt = new Date(room.createdAt);
  for (const user of room.users) user.joinedAt = new Date(user.joinedAt);
  return room;
}

const nodeApp = {
  async getRoom(roomId) {
    return revive(JSON.parse(await redis.get(`${prefix}room:${roomId}`)));
  },

  async join(roomId, userId) {
    const room = await nodeApp.getRoom(roomId);
    room.users = room.users.filter((one) => one.id !== userId);
    room.users.push({ id: userId, name: userId, isHost: false, joinedAt: new Date() });
    await redis.setex(`${prefix}room:${roomId}`, DAY, JSON.stringify(room));
    return room;
  },

  async addMessage(roomId, messageId) {
    const message = {
      id: messageId,
      roomId,
      userId: userId(0),
      userName: 'Person 00000',
      message: 'did you see that? she was behind the door all the time',
      timestamp: 1767225600000,
    };
    await redis.rpush(`${prefix}chat:${roomId}`, JSON.stringify(message));
    await redis.ltrim(`${prefix}chat:${roomId}`, -CHAT_LIMIT, -1);
    await redis.expire(`${prefix}chat:${roomId}`, DAY);
  },

  async getMessages(roomId) {
    const entries = await redis.lrange(`${prefix}chat:${roomId}`, 0, -1);
    return entries.map((entry) => JSON.parse(entry));
  },
};

const userId = (number) => `user-${String(number).padStart(5, '0')}`;

function stepOf(operation) {
  const run = Date.now();
  return {
    get_room: (room) => nodeApp.getRoom(room),
    add_user_to_room: (room, turn) => nodeApp.join(room, userId(1 + (turn % (USERS - 1)))),
    add_message: (room, turn) => nodeApp.addMessage(room, `m-${run}-${turn}`),
    get_messages: (room) => nodeApp.getMessages(room),
  }[operation];
}

// Return random choices with equal probability (mulberry32). The same seed gives the same choices.
function choices(seed, among) {
  let state = seed >>> 0;
  return Array.from({ length: CHOICES }, () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return among[((mixed ^ (mixed >>> 14)) >>> 0) % among.length];
  });
}

function percentile(ordered, share) {
  return ordered.length ? ordered[Math.max(0, Math.ceil(ordered.length * share) - 1)] : 0;
}

const until = (time) =>
  new Promise((resolve) => {
    setTimeout(resolve, Math.ceil(time - performance.now()));
  });

async function load({ operation, seconds, load: { callers, rooms, seed, rate } }) {
  const ids = Array.from({ length: rooms }, (_, number) => `R${String(number).padStart(6, '0')}`);
  const step = stepOf(operation);
  const latencies = [];
  const errors = {};
  const begin = performance.now();
  const end = begin + seconds * 1000;

  async function caller(number) {
    const chosen = choices(seed * 1000003 + number, ids);
    let turn = number;
    let start = performance.now();
    do {
      if (rate) {
        start = begin + (turn / rate) * 1000; // a late call counts from the time at which it was due
        if (start > performance.now()) await until(start);
      }
      try {
        await step(chosen[turn % CHOICES], turn);
        latencies.push(performance.now() - start);
      } catch (error) {
        errors[error.name] = (errors[error.name] ?? 0) + 1;
      }
      turn += callers;
      start = performance.now();
    } while (start < end);
  }

  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  const taken = (performance.now() - begin) / 1000;
  const ordered = Float64Array.from(latencies).sort();
  const [p50, p99] = [percentile(ordered, 0.5), percentile(ordered, 0.99)];
  return { operations: ordered.length, seconds: taken, p50_ms: p50, p99_ms: p99, errors };
}

async function join_all({ room, users }) {
  const errors = {};
  const begin = performance.now();
  const joins = users.map((user) =>
    nodeApp.join(room, user).catch((error) => {
      errors[error.name] = (errors[error.name] ?? 0) + 1;
    }),
  );
  await Promise.all(joins);
  return { seconds: (performance.now() - begin) / 1000, errors };
}

function begin({ url, autoPipelining, ...options }) {
  prefix = options.prefix;
  redis = new Redis(url, { enableAutoPipelining: autoPipelining, maxRetriesPerRequest: 1 });
  redis.on('error', (error) => console.error(error.message));
  return null;
}

async function main() {
  const tasks = { load, join_all };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { task, ...options } = JSON.parse(line);
    const answer = redis ? await tasks[task](options) : begin(options);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  redis.disconnect();
}

main();
