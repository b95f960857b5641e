// The Node side of a shared Redis: the documented commands of the Node app, on ioredis.
//
//   node node_app.js redis://127.0.0.1:6379/5        (or the URL in REDIS_URL)
//
// stdin:  one JSON line per step, {"step": "getRoom", "args": ["A3X9K2"]}. The end of stdin ends the program.
// stdout: one JSON line per step, in the same order: {"value": ...} or {"error": "..."}.
'use strict';

const readline = require('node:readline');
const { isDeepStrictEqual } = require('node:util');
const Redis = require('ioredis');

const DAY = 86400; // seconds
const CHAT_LIMIT = 20; // messages of a room
const HIT = `
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
`;

const redis = new Redis(process.argv[2] || process.env.REDIS_URL, { maxRetriesPerRequest: 1 });
redis.on('error', (error) => console.error(error.message));

function revive(room) {
  room.createdAt = new Date(room.createdAt);
  for (const user of room.users) user.joinedAt = new Date(user.joinedAt);
  return room;
}

async function existing(roomId) {
  const room = await original.getRoom(roomId);
  if (room === null) throw new Error(`no room ${roomId}`);
  return room;
}

const original = {
  async createRoom(room) {
    await redis.setex(`room:${room.id}`, DAY, JSON.stringify(revive(room)));
    await redis.sadd('active-rooms', room.id);
    await redis.expire('active-rooms', DAY);
  },

  async getRoom(roomId) {
    const text = await redis.get(`room:${roomId}`);
    return text === null ? null : revive(JSON.parse(text));
  },

  async updateRoom(roomId, room) {
    await redis.setex(`room:${roomId}`, DAY, JSON.stringify(room));
  },

  async deleteRoom(roomId) {
    await redis.del(`room:${roomId}`);
    await redis.del(`chat:${roomId}`);
    await redis.srem('active-rooms', roomId);
  },

  async addUser(roomId, user) {
    const room = await existing(roomId);
    room.users = room.users.filter((one) => one.id !== user.id);
    room.users.push({ ...user, joinedAt: new Date(user.joinedAt) });
    await original.updateRoom(roomId, room);
    return room;
  },

  async removeUser(roomId, userId) {
    const room = await existing(roomId);
    room.users = room.users.filter((one) => one.id !== userId);
    if (room.users.length === 0) {
      await original.deleteRoom(roomId);
      return null;
    }
    if (room.hostId === userId) {
      const [successor] = room.users;
      room.hostId = successor.id;
      room.hostName = successor.name;
      successor.isHost = true;
    }
    await original.updateRoom(roomId, room);
    return room;
  },

  async updateVideoState(roomId, videoState) {
    const room = await existing(roomId);
    room.videoState = videoState;
    await original.updateRoom(roomId, room);
    return room;
  },

  async setVideoUrl(roomId, videoUrl, videoType) {
    const room = await existing(roomId);
    room.videoUrl = videoUrl;
    room.videoType = videoType;
    room.videoState = { isPlaying: false, currentTime: 0, duration: 0, lastUpdateTime: Date.now() };
    await original.updateRoom(roomId, room);
    return room;
  },

  async addMessage(message) {
    await redis.rpush(`chat:${message.roomId}`, JSON.stringify(message));
    await redis.ltrim(`chat:${message.roomId}`, -CHAT_LIMIT, -1);
    await redis.expire(`chat:${message.roomId}`, DAY);
  },

  async getMessages(roomId) {
    const entries = await redis.lrange(`chat:${roomId}`, 0, -1);
    return entries.map((entry) => JSON.parse(entry));
  },

  // The script of the rate limit: increment the counter, and start a window with the first hit.
  async hit(key, windowMs) {
    return redis.eval(HIT, 1, `rl:${key}`, windowMs);
  },
};

// Helpers for assertions about JavaScript values.
const questions = {
  // Store JSON as it was written, without a TTL.
  async plainSet(key, text) {
    await redis.set(key, text);
  },

  // Whether the record that is stored is deep-equal to the one in `text`, except for some fields.
  async holds(key, text, ...ignored) {
    return sameBut(ignored, await redis.get(key), text);
  },

  // The same for the last entry of a list.
  async endsWith(key, text, ...ignored) {
    return sameBut(ignored, await redis.lindex(key, -1), text);
  },

  // A room's dates as numbers: createdAt, then each joinedAt. An invalid Date is NaN, which JSON makes null.
  async dates(roomId) {
    const room = await original.getRoom(roomId);
    const dates = [room.createdAt, ...room.users.map((user) => user.joinedAt)];
    return dates.map((date) => date instanceof Date && date.getTime());
  },

  slice(text, start, end) {
    return text.slice(start, end);
  },
};

function sameBut(ignored, ...texts) {
  const [one, other] = texts.map((text) => {
    const record = JSON.parse(text);
    for (const field of ignored) delete record[field];
    return record;
  });
  return isDeepStrictEqual(one, other);
}

async function main() {
  const steps = { ...original, ...questions };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { step, args } = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await steps[step](...args)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  redis.disconnect();
}

main();
